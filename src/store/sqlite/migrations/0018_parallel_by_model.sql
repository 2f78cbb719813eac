-- Requests at a time to some models are counted too.
DROP INDEX limited_keys;
CREATE INDEX limited_keys ON keys (family)
    WHERE limits LIKE '%"rates":[{%' OR limits LIKE '%"budgets":[{%' OR limits LIKE '%"parallel_by_model":[{%'
        OR (limits LIKE '%"parallel":%' AND limits NOT LIKE '%"parallel":null%');
