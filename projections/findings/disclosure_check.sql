-- name: closed
-- Asked by `disclosure.check`: the findings that the disclosure would close, as they stand.
SELECT opened_by, number, code, subject, customer_id, case_id, opened_at, detail FROM findings
JOIN unnest(%(leaves)s::bigint[], %(numbers)s::integer[]) AS asked (opened_by, number) USING (opened_by, number);
