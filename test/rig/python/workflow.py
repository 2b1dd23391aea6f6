"""Runs a workflow of Google's Workflows once: stdin is JSON with its path, its argument and the address of its pubsub.

Prints JSON: what it returned or raised, and each call's kind of token and timeout. It never waits between retries: the
emulator knows `initial_delay` by another name. The iterations of a parallel loop run beside each other, all at once: the
emulator reads `concurrency_limit`, by the schema of Workflows, and doesn't keep it.
"""

import contextvars
import json
import sys
import types

from workflows_emulator import main
from workflows_emulator.lib import http_utils

given = json.load(sys.stdin)
plain = http_utils.request
told = {"calls": []}


def request(method, url, auth=None, timeout=300, scopes=None, **rest):
    """The emulator has no tokens: which one was wanted is told in their place."""
    told["calls"].append({"url": url, "auth": auth, "timeout": timeout})
    return plain(method, url.replace("https://pubsub.googleapis.com", given["pubsub"]), **rest)


def variable(name):
    """The variable of a parallel loop. In the emulator the outer one of that name, of another subworkflow, would hide it."""
    known = [one for one in contextvars.copy_context() if one.name == name]
    return known[0] if known else contextvars.ContextVar(name)


main.contextvars = types.SimpleNamespace(ContextVar=variable, copy_context=contextvars.copy_context)
http_utils.request = main.authenticated_request = request
main.sleep = lambda seconds: None

try:
    workflow = main.load_workflow(given["path"])
    [argument] = workflow["main"]["params"]
    told["returned"] = main.execute_workflow(workflow, {argument: given["argument"]})
except Exception as error:
    told["raised"] = str(error)
print(json.dumps(told))
