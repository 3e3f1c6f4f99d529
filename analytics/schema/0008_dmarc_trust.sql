-- Schema 8: a report whose carrier was checked and found to be nobody's ('none': no policy, no signature, no SPF) counts as
-- little as a forged one. Reports that nobody has checked ('unknown') count as before.
CREATE OR REPLACE VIEW dmarc.daily AS
WITH spread AS (
    SELECT r.*, unnest(generate_series(
        date_trunc('day', r.begin_at), date_trunc('day', greatest(r.begin_at, r.end_at)), INTERVAL 1 DAY)) AS day
    FROM dmarc.record r JOIN dmarc.report USING (report_id)
    WHERE is_current AND mail_auth IN ('pass', 'unknown') AND r.begin_at IS NOT NULL AND r.end_at IS NOT NULL
      AND r.end_at - r.begin_at < INTERVAL 400 DAY
)
SELECT *, messages * CASE WHEN end_at - begin_at <= INTERVAL 0 SECOND THEN 1.0 ELSE
    (epoch_us(least(end_at, day + INTERVAL 1 DAY)) - epoch_us(greatest(begin_at, day)))::DOUBLE
    / (epoch_us(end_at) - epoch_us(begin_at)) END AS share
FROM spread
WHERE end_at <= begin_at OR least(end_at, day + INTERVAL 1 DAY) > greatest(begin_at, day);
