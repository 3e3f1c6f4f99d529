-- Schema 7: how failures clump together, and which provider served a domain when.

-- What widens intervals (analytics/dispersion.py); provider '' is all mail. Written anew at each fit.
CREATE TABLE dispersion (
    provider  VARCHAR   NOT NULL,
    rate      VARCHAR   NOT NULL,
    size      DOUBLE    NOT NULL,    -- recipients of the clump in which a recipient finds itself
    rho       DOUBLE    NOT NULL,    -- how alike the fates within a clump are
    fitted_at TIMESTAMP NOT NULL
);

-- Every provider that a domain was seen with, and since when until when; `learned_provider` is the latest of them.
CREATE TABLE provider_history (
    domain         VARCHAR   NOT NULL,
    provider       VARCHAR   NOT NULL,
    provider_group VARCHAR   NOT NULL,
    gateway        VARCHAR,
    evidence       UTINYINT  NOT NULL,
    first_seen     TIMESTAMP NOT NULL,
    last_seen      TIMESTAMP NOT NULL,
    PRIMARY KEY (domain, provider)
);
INSERT INTO provider_history SELECT domain, provider, provider_group, gateway, 3, first_seen, last_seen
FROM learned_provider;
