"""What the fuzzer puts in besides what it finds out itself; see `tests.fuzz.targets`."""

JSON_WORDS = (
    b'"records"', b'"columns"', b'"data"', b'"index"', b'"body"', b'"isBase64Encoded"',
    b'"headers"', b'"topK"', b'"threshold"', b'"id"', b'"replyTo"', b'"deadlineMs"',
    b'"colour"', b'"grade"', b'"active"', b'"count"', b'"size"', b'"red"', b'"green"', b'"blue"',
    b"null", b"true", b"false", b"NaN", b"Infinity", b"1e999", b"-0.0", b"1e-400", b"3.5e38",
    b"18446744073709551616", b"9007199254740993", b"\\u0000", b"\\ud800", b"\xe2\x80\xa8",
    b"\xef\xbb\xbf", b"\x1b[31m", b"[[", b"{}", b'"edgexgb/results/x"', b'"requestContext"',
    b'"op"', b'"health"', b'{"op":"health"}', b"\\ud83c\\udf32", b"\xf0\x9f\x8c\xb2",
)  # fmt: skip
REPLY_WORDS = (
    b'"statusCode"', b'"model"', b'"name"', b'"version"', b'"digest"', b'"predictions"',
    b'"labels"', b'"label"', b'"probabilities"', b'"probability"', b'"error"', b'"code"',
    b'"message"', b'"details"', b'"place"', b'"observed"', b'"expected"', b'"records[0].x"',
    b'"maxRows"', b'"retryAfterMs"', b'"ready"', b'"engine"', b'"uptimeSeconds"', b'"waiting"',
    b'"maxWaiting"', b'"served"', b'"refused"', b'"failed"', b'"latencyMs"', b'"p50"', b'"p99"',
    b'"lastError"', b'"when"', b'"residentBytes"',
)  # fmt: skip
RECIPE_WORDS = (
    b"RecipeFormatVersion", b"ComponentName", b"ComponentVersion", b"ComponentType",
    b"ComponentConfiguration", b"DefaultConfiguration", b"ComponentDependencies",
    b"VersionRequirement", b"DependencyType", b"Manifests", b"Lifecycle", b"Platform",
    b"Artifacts", b"Selections", b"Script", b"Timeout", b"RequiresPrivilege", b"Skipif",
    b"Setenv", b"Unarchive", b"URI", b"s3://b/file.zip", b"startup", b"install", b"run", b"all",
    b"2020-01-25", b"1.0.0", b"~1.2", b"^1.0", b">=1.0.0", b"||", b" - ", b"!!binary", b"&a", b"*a",
    b"<<", b"!!set", b"? ", b"--- ", b"|-\n", b">\n", b"0x10", b"1_000", b"99999999999999999999",
    b"/(a+)+/", b"/[/", b"/a{1,99999999999}/", b"{configuration:/a}", b"{artifacts:path}",
    b"{work:path}", b"{kernel:rootPath}", b"{iot:thingName}", b"exists /x", b"onpath sh",
)  # fmt: skip
