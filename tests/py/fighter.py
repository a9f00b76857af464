"""A player as a program in Python would be one, on the synchronous client of python-socketio.

Whatever is awaited has a deadline and a name.
"""

import json
import pathlib
import random
import threading
import time

from engineio.payload import Payload
import socketio

# The library refuses a polling answer with more than 16 packets; one turn of a battle has more.
Payload.max_decode_packets = 500

DEADLINE_S = 60
# Below the 20 events a second, with a burst of 60, that the server allows a socket.
PACE_S = 0.055
BURST = 45

TEAMS = json.loads((pathlib.Path(__file__).parent.parent / "teams.json").read_text(encoding="utf-8"))
STATS = ("hp", "atk", "def", "spa", "spd", "spe")


def team_of(number, owner):
    """The team of this number, as `joinMatchmaking` wants it."""
    team = [
        {
            **pet,
            "name": f"secret {slot} of {owner}",
            "level": 100,
            "evs": dict.fromkeys(STATS, 85),
            "ivs": dict.fromkeys(STATS, 31),
        }
        for slot, pet in enumerate(TEAMS[number])
    ]
    return {"name": f"Tester {owner[:6]}", "id": owner, "team": team}


class Fighter:
    """Records every event as `(name, argument)`, in the order of arrival."""

    def __init__(self, server, number, transport):
        self.id = server.guest()
        self.team = team_of(number, self.id)
        self.events = []
        self._arrived = threading.Condition()
        self._tokens = float(BURST)
        self._refilled = time.monotonic()
        self.socket = socketio.Client(reconnection=False)
        for name in ("matchSuccess", "roomClosed", "updateState", "battleEvent"):
            self.socket.on(name, self._recorder(name))
        self.socket.on("ping", lambda *_: self.socket.emit("pong"))
        self.socket.connect(f"{server.url}?playerId={self.id}", transports=[transport], wait_timeout=DEADLINE_S)

    def _recorder(self, name):
        def record(argument=None):
            with self._arrived:
                self.events.append((name, argument))
                self._arrived.notify_all()

        return record

    def seen(self, what, wanted, start=0):
        """Waits for the first event from `start` on that `wanted` accepts; gives its place."""

        def find():
            for at in range(start, len(self.events)):
                if wanted(*self.events[at]):
                    return at + 1
            return 0

        with self._arrived:
            found = self._arrived.wait_for(find, timeout=DEADLINE_S)
        if not found:
            raise AssertionError(f"no {what} within {DEADLINE_S} s; last: {self.events[-3:]}")
        return found - 1

    def ask(self, name, *args):
        """Emits with an acknowledgement and gives it."""
        now = time.monotonic()
        self._tokens = min(self._tokens + (now - self._refilled) / PACE_S, BURST) - 1
        self._refilled = now
        if self._tokens < 0:
            time.sleep(-self._tokens * PACE_S)
        return self.socket.call(name, args if args else None, timeout=DEADLINE_S)

    def ok(self, name, *args):
        """Asks and gives the data of the success."""
        answer = self.ask(name, *args)
        if answer["status"] != "SUCCESS":
            raise AssertionError(f"{name}: {answer}")
        return answer.get("data")

    def join(self):
        """Queues and wants to hear so."""
        if self.ok("joinMatchmaking", self.team) != {"status": "QUEUED"}:
            raise AssertionError("not queued")

    def matched(self):
        """Waits for the pairing."""
        at = self.seen("matchSuccess", lambda name, _: name == "matchSuccess")
        return self.events[at][1]["data"]

    def _asks(self, message):
        if message["type"] == "FAINT_SWITCH":
            return message["data"]["player"] == self.id
        return message["type"] in ("TURN_ACTION", "FORCED_SWITCH") and self.id in message["data"]["player"]

    def play(self, seed):
        """Chooses at random whenever asked, until the battle ends; gives the `BATTLE_END`."""
        draw = random.Random(seed)
        place = 0
        while True:
            place = self.seen(
                "message that asks to choose, or the end",
                lambda name, m: name == "battleEvent" and (m["type"] == "BATTLE_END" or self._asks(m)),
                place,
            )
            message = self.events[place][1]
            place += 1
            if message["type"] == "BATTLE_END":
                return message
            available = self.ok("getAvailableSelection")
            skills = [choice for choice in available if choice["type"] == "use-skill"]
            options = skills or [choice for choice in available if choice["type"] != "surrender"]
            if not options:
                raise AssertionError(f"asked to choose, but there is only {available}")
            accepted = self.ok("submitPlayerSelection", draw.choice(options))
            if accepted != {"status": "ACTION_ACCEPTED"}:
                raise AssertionError(accepted)

    def story(self):
        """Numbers, types and data of all battle messages so far, by number: the library handles each packet in
        a thread of its own, so they may be noted in another order than they came."""
        messages = [m for name, m in self.events if name == "battleEvent" and "sequenceId" in m]
        messages.sort(key=lambda message: message["sequenceId"])
        return [(m["sequenceId"], m["type"], m["data"]) for m in messages]

    def close(self):
        """Leaves."""
        self.socket.disconnect()
