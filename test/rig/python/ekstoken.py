"""The URL that botocore signs for the token of an EKS cluster; the arguments are JSON on stdin, the answer a line."""

import datetime
import json
import sys
from unittest import mock

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

case = json.load(sys.stdin)
credentials = case["credentials"]
request = AWSRequest(
    method="GET",
    url=f"https://{case['host']}/?Action=GetCallerIdentity&Version=2011-06-15",
    headers={"x-k8s-aws-id": case["name"]},
)
at = datetime.datetime.fromisoformat(case["at"]).replace(tzinfo=None)
with mock.patch("botocore.auth.get_current_datetime", return_value=at):
    SigV4QueryAuth(
        Credentials(credentials["accessKeyId"], credentials["secretAccessKey"], credentials.get("sessionToken")),
        "sts",
        case["region"],
        expires=60,
    ).add_auth(request)
print(request.url)
