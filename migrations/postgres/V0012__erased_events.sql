-- What an erasure looks for among events has an index for each way to find it. An event that was blanked is in none of
-- them, so that earlier erasures cost later ones nothing.

DROP INDEX event_alias;
DROP INDEX event_nameless;
CREATE INDEX event_alias ON event (environment, terra_user_id) WHERE terra_user_id IS NOT NULL;
CREATE INDEX event_nameless_alias ON event (environment, (data ->> 'terra_user_id'))
    WHERE terra_user_id IS NULL AND data ->> 'terra_user_id' IS NOT NULL;
CREATE INDEX event_nameless_reference ON event (environment, (data ->> 'reference_id'))
    WHERE terra_user_id IS NULL AND data ->> 'reference_id' IS NOT NULL;
CREATE INDEX event_nameless_subject ON event (subject)
    WHERE terra_user_id IS NULL AND subject IS NOT NULL AND NOT (entity = 'user' AND verb = 'erased');
