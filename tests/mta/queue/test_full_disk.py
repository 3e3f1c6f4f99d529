"""A disk that is really full: new mail is refused, and all that was accepted is delivered when there is room again."""

import subprocess

import aiosmtplib
import pytest

BODY = b"Subject: large\r\n\r\n" + (b"x" * 70 + b"\r\n") * 1400


@pytest.fixture
def enlarge(tmp_path):
    """A file system of 3 MB where the worker's data goes, and how to make it larger; needs the right to mount."""
    folder = tmp_path / "data"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small file system")
    yield lambda: subprocess.run(["mount", "-o", "remount,size=100m", str(folder)], check=True)
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_mail_beyond_the_disk_is_refused_and_what_was_accepted_is_delivered(enlarge, start_worker, peer):
    there = await peer()
    nowhere = {**there.route, "port": 1}
    worker = await start_worker(routes=[nowhere], retry_interval=0.2)
    accepted = []
    with pytest.raises(aiosmtplib.SMTPResponseException) as refused:  # noqa: PT012  (which mail fills it is not known)
        for number in range(60):
            await worker.send(f"u{number}@example.com", body=BODY)
            accepted.append(f"u{number}@example.com")
    assert refused.value.code == 452
    assert len(accepted) > 10
    enlarge()
    await worker.worker.stop()
    again = await start_worker(routes=[there.route], retry_interval=0.2)
    await again.until_type("Delivery", len(accepted))
    assert sorted(recipient for _, recipient, *_ in there.mails) == sorted(accepted)
