"""A component of wasi:http: greets, or sends back what it is sent, in capitals."""

from componentize_py_types import Ok
from wit_world import exports
from wit_world.imports import environment
from wit_world.imports.types import (
    Fields,
    IncomingRequest,
    Method_Post,
    OutgoingBody,
    OutgoingResponse,
    ResponseOutparam,
)


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        greeting = dict(environment.get_environment()).get("GREETING", "hello")
        answer = f"{greeting} from {request.path_with_query()}\n".encode()
        if isinstance(request.method(), Method_Post):
            # What is a part of something else is dropped before that.
            with request.consume() as received, received.stream() as stream:
                answer = stream.blocking_read(4096).upper()
        head = OutgoingResponse(Fields())
        body = head.body()
        ResponseOutparam.set(response_out, Ok(head))
        with body.write() as stream:
            stream.blocking_write_and_flush(answer)
        OutgoingBody.finish(body, None)
