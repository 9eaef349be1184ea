-- What a clock that was ahead has settled is found without reading everything that waits.

CREATE INDEX delivery_stamped ON delivery (coalesce(type_name IN ('s3_payload', 's3_upload'), 0), settled_at)
    WHERE outcome = 'retry' AND locked_until IS NULL;
