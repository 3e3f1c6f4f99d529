-- Schema 9: how long what is kept. Parts whose reply texts have been forgotten, and since when what is kept at all.

CREATE TABLE part_without_texts (name VARCHAR NOT NULL);
CREATE TABLE kept_since (what VARCHAR PRIMARY KEY, since TIMESTAMP NOT NULL);
