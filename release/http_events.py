"""HTTP requests as Lambda sees them: one function for each service that can stand in front.

Source: AWS Lambda developer guide, the pages on API Gateway, function URLs and ALB.
"""

from collections.abc import Mapping
from typing import Any, Protocol

Event = dict[str, Any]


class Form(Protocol):
    """Wraps a body: text, its Content-Type, and whether the text is base64 of the real body."""

    def __call__(self, body: str, content_type: str, *, is_base64: bool = False) -> Event:
        """The event."""


_HOST = "abc123.execute-api.eu-west-1.amazonaws.com"
_TIME_MS = 1767225600000
_TIME = "01/Jan/2026:00:00:00 +0000"


def rest_api(body: str, content_type: str, *, is_base64: bool = False) -> Event:
    """An event of an API Gateway REST API (payload format 1.0)."""
    headers = {"Content-Type": content_type, "Host": _HOST, "User-Agent": "edgexgb"}
    return {
        "resource": "/predict",
        "path": "/predict",
        "httpMethod": "POST",
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abc123",
            "httpMethod": "POST",
            "identity": {"sourceIp": "192.0.2.1", "userAgent": "edgexgb"},
            "path": "/prod/predict",
            "protocol": "HTTP/1.1",
            "requestId": "00000000-0000-0000-0000-000000000000",
            "requestTimeEpoch": _TIME_MS,
            "resourceId": "abc123",
            "resourcePath": "/predict",
            "stage": "prod",
        },
        "body": body,
        "isBase64Encoded": is_base64,
    }


def http_api(body: str, content_type: str, *, is_base64: bool = False) -> Event:
    """An event of an API Gateway HTTP API (payload format 2.0)."""
    return _version_2("POST /predict", _HOST, body, content_type, is_base64=is_base64)


def function_url(body: str, content_type: str, *, is_base64: bool = False) -> Event:
    """An event of a Lambda function URL."""
    host = "abc123.lambda-url.eu-west-1.on.aws"
    return _version_2("$default", host, body, content_type, is_base64=is_base64)


def _version_2(route: str, host: str, body: str, content_type: str, *, is_base64: bool) -> Event:
    return {
        "version": "2.0",
        "routeKey": route,
        "rawPath": "/predict",
        "rawQueryString": "",
        "headers": {"content-type": content_type, "host": host, "user-agent": "edgexgb"},
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "abc123",
            "domainName": host,
            "domainPrefix": "abc123",
            "http": {
                "method": "POST",
                "path": "/predict",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "edgexgb",
            },
            "requestId": "00000000-0000-0000-0000-000000000000",
            "routeKey": route,
            "stage": "$default",
            "time": _TIME,
            "timeEpoch": _TIME_MS,
        },
        "body": body,
        "isBase64Encoded": is_base64,
    }


def load_balancer(body: str, content_type: str, *, is_base64: bool = False) -> Event:
    """An event of an Application Load Balancer."""
    headers = {"content-type": content_type, "host": "alb.example.com", "user-agent": "edgexgb"}
    return {**_load_balancer(body, is_base64=is_base64), "headers": headers}


def load_balancer_multi_value(body: str, content_type: str, *, is_base64: bool = False) -> Event:
    """An event of an Application Load Balancer whose target group sends headers as lists."""
    headers = {"content-type": [content_type], "host": ["alb.example.com"]}
    return {**_load_balancer(body, is_base64=is_base64), "multiValueHeaders": headers}


def _load_balancer(body: str, *, is_base64: bool) -> Event:
    group = (
        "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/predict/0123456789abcdef"
    )
    return {
        "requestContext": {"elb": {"targetGroupArn": group}},
        "httpMethod": "POST",
        "path": "/predict",
        "queryStringParameters": {},
        "body": body,
        "isBase64Encoded": is_base64,
    }


FORMS: Mapping[str, Form] = {
    "api-gateway-rest": rest_api,
    "api-gateway-http": http_api,
    "function-url": function_url,
    "alb": load_balancer,
    "alb-multi-value": load_balancer_multi_value,
}
"""The HTTP forms by the name under which a report lists them."""
