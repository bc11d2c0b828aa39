-- name: place
-- Asked by each step: how far the events are published, and how far there are any.
SELECT a.position, h.size FROM service.announcers AS a CROSS JOIN ledger.head AS h WHERE a.name = 'events';

-- name: move
-- The end of what a step notes down.
UPDATE service.announcers SET position = %(position)s WHERE name = 'events';
