"""The document of the REST API, as a validator takes it that others wrote."""

import unittest

import requests
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from referencing.exceptions import PointerToNowhere

from server import Server


class Document(unittest.TestCase):
    """It is what it says it is."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.stop)

    def document(self):
        answer = requests.get(self.server.url + "/api-docs.json", timeout=60)
        answer.raise_for_status()
        return answer.json()

    def test_the_document_is_valid_openapi_3_1(self):
        document = self.document()
        self.assertTrue(document["openapi"].startswith("3.1."), document["openapi"])
        validate(document, cls=OpenAPIV31SpecValidator)

    def test_a_document_with_a_dangling_reference_is_refused(self):
        document = self.document()
        del document["components"]["schemas"]["Refusal"]
        with self.assertRaises(PointerToNowhere):
            validate(document, cls=OpenAPIV31SpecValidator)


if __name__ == "__main__":
    unittest.main()
