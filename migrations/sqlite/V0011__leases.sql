-- What is due, and what its worker held when it died, are found without reading everything that waits.

CREATE INDEX delivery_due ON delivery (coalesce(type_name IN ('s3_payload', 's3_upload'), 0), retry_at)
    WHERE outcome = 'retry' AND locked_until IS NULL;
CREATE INDEX delivery_leased ON delivery (coalesce(type_name IN ('s3_payload', 's3_upload'), 0), locked_until)
    WHERE outcome = 'retry' AND locked_until IS NOT NULL;
