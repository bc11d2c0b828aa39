-- name: all_tails
-- Asked of temporary tables: what opens next of each customer.
SELECT * FROM tails;

-- name: all_findings
-- Asked of temporary tables: the fields of projections.findings.facts.Finding in their order.
SELECT
    opened_by, number, code, subject, customer_id, case_id, opened_at, opened_recorded_at, coalesce(detail, '{}') AS detail,
    closed_at, closed_by, closed_recorded_at
FROM findings ORDER BY opened_by, number;
