"""Whole battles with python-socketio, by polling and by websocket."""

import unittest
from concurrent.futures import ThreadPoolExecutor

import socketio

from fighter import DEADLINE_S, Fighter
from server import Server


class Battles(unittest.TestCase):
    """Each test has its own players on one server."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.stop)

    def fighter(self, number, transport):
        fighter = Fighter(self.server, number, transport)
        self.addCleanup(fighter.close)
        return fighter

    def fight(self, transport):
        a, b = self.fighter(0, transport), self.fighter(1, transport)
        a.join()
        b.join()
        room = a.matched()["roomId"]
        self.assertEqual(room, b.matched()["roomId"])
        for fighter in (a, b):
            self.assertEqual(fighter.ok("getState")["status"], "Unstarted")
            self.assertEqual(fighter.ok("ready"), {"status": "READY"})
        with ThreadPoolExecutor() as pool:
            plays = [pool.submit(fighter.play, seed) for seed, fighter in enumerate((a, b))]
            ends = [play.result(timeout=240) for play in plays]
        self.assertEqual(ends[0]["data"], ends[1]["data"])
        self.assertEqual(ends[0]["data"]["reason"], "all_pet_fainted")
        for fighter in (a, b):
            closed = fighter.seen("roomClosed", lambda name, _: name == "roomClosed")
            self.assertEqual(fighter.events[closed][1], {"roomId": room})
            ends = [at for at, (_, m) in enumerate(fighter.events) if m and m.get("type") == "BATTLE_END"]
            self.assertEqual(len(ends), 1)
            self.assertLess(ends[0], closed)
            self.assertEqual(fighter.ok("getState")["status"], "Ended")
        self.assertEqual(a.story(), b.story())
        self.assertEqual([number for number, _, _ in a.story()], list(range(len(a.story()))))
        self.assertEqual(a.socket.transport(), transport)

    def test_two_players_fight_a_whole_battle_by_polling(self):
        self.fight("polling")

    def test_two_players_fight_a_whole_battle_by_websocket(self):
        self.fight("websocket")

    def test_a_player_by_polling_meets_one_by_websocket(self):
        a, b = self.fighter(2, "polling"), self.fighter(3, "websocket")
        a.join()
        b.join()
        self.assertEqual(a.matched()["opponent"]["id"], b.id)
        self.assertEqual(b.matched()["opponent"]["id"], a.id)

    def test_a_refused_handshake_says_why(self):
        for query, text in (("", "PLAYER_ID_REQUIRED"), ("?playerId=AAAAAAAAAAAAAAAAAAAAA", "PLAYER_NOT_FOUND")):
            for transport in ("polling", "websocket"):
                with self.subTest(text=text, transport=transport):
                    client = socketio.Client(reconnection=False)
                    told = []
                    client.on("connect_error", told.append)
                    with self.assertRaises(socketio.exceptions.ConnectionError):
                        client.connect(self.server.url + query, transports=[transport], wait_timeout=DEADLINE_S)
                    self.assertEqual(told, [{"message": text}])


if __name__ == "__main__":
    unittest.main()
