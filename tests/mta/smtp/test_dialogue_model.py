"""Whatever a client says in whatever order, the answers are those of a small model of the dialogue (RFC 5321, 3030)."""

import asyncio

from aiosmtpd.smtp import Envelope
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.smtp.session import Bounds, Session

CONTENT = b"Subject: x\r\n\r\nbody\r\n"
SAID = {
    "EHLO": b"EHLO c\r\n",
    "HELO": b"HELO c\r\n",
    "MAIL": b"MAIL FROM:<a@example.org>\r\n",
    "MAIL+": b"MAIL FROM:<a@example.org> RET=HDRS ENVID=x\r\n",
    "RCPT": b"RCPT TO:<u@example.com>\r\n",
    "RCPT+": b"RCPT TO:<v@example.com> NOTIFY=NEVER\r\n",
    "RCPT-": b"RCPT TO:<refused@example.com>\r\n",
    "DATA": b"DATA\r\n",
    "BDAT": b"BDAT %d\r\n%s" % (len(CONTENT), CONTENT),
    "BDAT.": b"BDAT %d LAST\r\n%s" % (len(CONTENT), CONTENT),
    "BDAT!": b"BDAT 9000\r\n" + b"x" * 9000,
    "RSET": b"RSET\r\n",
    "NOOP": b"NOOP\r\n",
}


class Model:
    """What a server knows of a dialogue, and what it answers."""

    def __init__(self):
        self.greeted = self.extended = False
        self.taken = []
        self.reset()

    def reset(self):
        self.sender, self.recipients, self.chunks, self.spoilt = False, 0, [], False

    def answer(self, word):
        """The codes of the answers to a command."""
        kind = word.rstrip("+-.!")
        return [getattr(self, f"on_{kind.lower()}")(word)] if kind != "DATA" else self.on_data()

    def on_ehlo(self, word):
        self.greeted, self.extended = True, word == "EHLO"
        self.reset()
        return "250"

    on_helo = on_ehlo

    def on_mail(self, word):
        if not self.greeted:
            return "503"
        if word == "MAIL+" and not self.extended:
            return "501"
        if self.sender:
            return "503"
        self.sender = True
        return "250"

    def on_rcpt(self, word):
        if not (self.greeted and self.sender):
            return "503"
        if word == "RCPT+" and not self.extended:
            return "501"
        if word == "RCPT-":
            return "550"
        self.recipients += 1
        return "250"

    def on_data(self):
        if not self.greeted or self.chunks or self.spoilt or not self.recipients:
            return ["503"]
        self.take(CONTENT)
        return ["354", "250"]

    def on_bdat(self, word):
        if not self.recipients or self.spoilt:
            return "503"
        if word == "BDAT!" or sum(map(len, self.chunks)) + len(CONTENT) > 5000:
            self.spoilt = True
            return "552"
        self.chunks.append(CONTENT)
        if word == "BDAT.":
            self.take(b"".join(self.chunks))
        return "250"

    def on_rset(self, _):
        self.reset()
        return "250"

    def on_noop(self, _):
        return "250"

    def take(self, content):
        self.taken.append((self.recipients, content))
        self.reset()


class Policy:
    offers_login = False

    def __init__(self):
        self.taken = []

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        return self.answer_recipient(server, envelope, address)

    def answer_recipient(self, server, envelope, address):
        if address.startswith("refused"):
            return "550 5.1.1 No"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server, session, envelope: Envelope):  # noqa: N802
        self.taken.append((len(envelope.rcpt_tos), envelope.content))
        return "250 2.0.0 OK"

    def refuse_sender(self, server):
        return None

    def opened(self, session):
        session.may_relay = True
        return True

    def closed(self, session):
        pass

    def refused(self, session, reply):
        pass


async def talk(policy, words, model):
    """The codes answered to all commands; the content of DATA is sent where the model expects it to be asked for."""
    loop = asyncio.get_running_loop()
    options = {"data_size_limit": 5000, "hostname": "mta", "loop": loop}
    server = await loop.create_server(
        lambda: Session(policy, policy, bounds=Bounds(1000, 5), **options), "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    expected = ["220"]
    for word in words:
        answers = model.answer(word)
        writer.write(SAID[word] + (CONTENT + b".\r\n" if answers[0] == "354" else b""))
        expected += answers
    writer.write(b"QUIT\r\n")
    said = (await asyncio.wait_for(reader.read(), 5)).decode().splitlines()
    writer.close()
    server.close()
    return [line[:3] for line in said if line[3:4] == " "], [*expected, "221"]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(sorted(SAID)), max_size=25))
def test_any_order_of_commands_is_answered_as_the_model_says(words):
    policy, model = Policy(), Model()
    answers, expected = asyncio.run(talk(policy, words, model))
    assert answers == expected
    assert policy.taken == model.taken


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(sorted(SAID)), max_size=12))
def test_within_a_transaction_too(words):
    policy, model = Policy(), Model()
    answers, expected = asyncio.run(talk(policy, ["EHLO", "MAIL", "RCPT", *words, "RCPT+", "BDAT."], model))
    assert answers == expected
    assert policy.taken == model.taken
