"""The qpq command: one-shot commands and the interactive console, clients of the control socket."""
