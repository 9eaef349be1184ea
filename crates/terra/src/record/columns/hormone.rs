//! Hormones: one measurement.

use super::{Column, number, text};

pub(super) const COLUMNS: [Column; 6] = [
    number("lh_mIU_per_ml", "luteinising hormone, mIU/ml"),
    number("fsh_mIU_per_ml", "follicle-stimulating hormone, mIU/ml"),
    number("hcg_mIU_per_ml", "chorionic gonadotropin, mIU/ml"),
    number("e3g_ng_per_ml", "estrone-3-glucuronide, ng/ml"),
    number("pdg_ug_per_ml", "pregnanediol glucuronide, ug/ml"),
    text("timestamp", "as delivered"),
];
