"""A mail relay for tests: takes every mail and says what was in it.

Prints `PORT n` once it listens, then a JSON line for each mail: envelope, headers and parts, decoded by
Python's own mail parser. Ends when its standard input is closed. `relay.py refuse` takes no recipient,
and nobody@ anywhere is never taken.
"""

import asyncio
import email
import email.policy
import json
import sys

from aiosmtpd.smtp import SMTP


class Handler:
    def __init__(self, refuses):
        self.refuses = refuses

    async def handle_RCPT(self, server, session, envelope, address, options):
        if self.refuses or address.startswith("nobody@"):
            return f"550 5.1.1 <{address}>: nobody here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        raw = envelope.content
        mail = email.message_from_bytes(raw, policy=email.policy.default)
        parts = {part.get_content_type(): part.get_content() for part in mail.walk() if not part.is_multipart()}
        sender = mail["from"].addresses[0]
        say(
            {
                "envelope": {"from": envelope.mail_from, "to": envelope.rcpt_tos},
                "from": {"name": sender.display_name, "address": sender.addr_spec},
                "to": mail["to"].addresses[0].addr_spec,
                "subject": str(mail["subject"]),
                "date": mail["date"].datetime.isoformat(),
                "messageId": str(mail["message-id"]),
                "type": mail.get_content_type(),
                "ascii": raw.isascii(),
                "parts": parts,
                "defects": [str(defect) for part in mail.walk() for defect in part.defects],
            }
        )
        return "250 OK"


def say(what):
    print(json.dumps(what), flush=True)


async def main():
    handler = Handler("refuse" in sys.argv[1:])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(handler, hostname="relay.test"), "127.0.0.1", 0)
    print("PORT", server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
