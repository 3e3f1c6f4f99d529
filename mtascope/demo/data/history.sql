-- The past of the demo: counts by step of every habit, appended to step_count. See mtascope/demo/history.py.
-- Every draw is a hash of what it is about, so that the same seed gives the same past on any number of threads.

CREATE OR REPLACE TEMP MACRO even(what) AS (hash(hash(what)) >> 11) / 9007199254740992;
CREATE OR REPLACE TEMP MACRO normal(what) AS
    sqrt(-2 * ln(1 - even(what || '/radius'))) * cos(2 * pi() * even(what || '/angle'));

-- Waves of the day, and quieter weekends.
CREATE OR REPLACE TEMP MACRO rhythm(moment) AS
    (1 + 0.25 * sin(2 * pi() * epoch(moment) / 86400)) * CASE WHEN isodow(moment) > 5 THEN 0.8 ELSE 1.0 END;

-- A count that scatters about its mean as chance does, and in clumps: the square of the mean times 0.05.
CREATE OR REPLACE TEMP MACRO scattered(mean, what) AS
    CASE WHEN mean > 3 THEN round(greatest(0, mean + sqrt(mean + 0.05 * mean * mean) * normal(what)))
         ELSE (even(what) > exp(-mean))::INT + (even(what) > exp(-mean) * (1 + mean))::INT
            + (even(what) > exp(-mean) * (1 + mean + mean ** 2 / 2))::INT
            + (even(what) > exp(-mean) * (1 + mean + mean ** 2 / 2 + mean ** 3 / 6))::INT
            + (even(what) > exp(-mean) * (1 + mean + mean ** 2 / 2 + mean ** 3 / 6 + mean ** 4 / 24))::INT END;

CREATE OR REPLACE TEMP TABLE past AS
WITH sent AS (
    SELECT step, habit.*, concat_ws('/', getvariable('seed'), name, provider, epoch_us(step)) AS what,
           scattered(mails * rhythm(step) / rhythm(getvariable('until')), what || '/sent') AS ended
    FROM habit, range(getvariable('since'), getvariable('until'), INTERVAL 5 MINUTE) moments(step)),
failed AS (
    SELECT *, least(ended, scattered(ended * lost, what || '/lost')) AS failed,
           least(ended - failed, scattered(ended * refused, what || '/refused')) AS blocked,
           scattered(ended * deferrals, what || '/deferred') AS deferred,
           scattered(ended * complaints, what || '/complained') AS complained
    FROM sent WHERE ended > 0)
SELECT step, provider, tenant, pool, ended, ended - failed - blocked AS delivered, blocked, ended + deferred AS answered,
       deferred, complained
FROM failed;

INSERT INTO step_count
SELECT step, provider,
       CASE WHEN grouping(tenant) = 0 THEN 'tenant' WHEN grouping(pool) = 0 THEN 'pool' ELSE '' END,
       CASE WHEN grouping(tenant) = 0 THEN tenant WHEN grouping(pool) = 0 THEN pool ELSE '' END,
       sum(ended)::BIGINT, sum(delivered)::BIGINT, sum(blocked)::BIGINT, sum(answered)::BIGINT,
       sum(deferred)::BIGINT, sum(complained)::BIGINT
FROM past GROUP BY GROUPING SETS ((step, provider), (step, provider, tenant), (step, provider, pool)) ORDER BY ALL;

DROP TABLE past;
