//! Athletes: the person as the provider has them; one per connection.

use super::{AS_NAMED, Column, integer, text};

pub(super) const COLUMNS: [Column; 13] = [
    text("first_name", AS_NAMED),
    text("last_name", AS_NAMED),
    text("sex", AS_NAMED),
    text("gender", AS_NAMED),
    integer("age", "years"),
    text("date_of_birth", AS_NAMED),
    text("country", AS_NAMED),
    text("state", AS_NAMED),
    text("city", AS_NAMED),
    text("email", AS_NAMED),
    text("bio", AS_NAMED),
    text("account_creation_date", AS_NAMED),
    text("provider_user_id", AS_NAMED),
];
