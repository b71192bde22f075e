import platform


def handler(event, context):
    return {
        "message": f"hello from Python {platform.python_version()}",
        "input": event,
        "requestId": context.aws_request_id,
        "remainingMs": context.get_remaining_time_in_millis(),
    }
