"""What Prefect keeps of log records: all but passwords in addresses, and this machine's keys."""

import logging

from tasks.keys import hidden
from tasks.remote import scrubbed

PLAIN = logging.Formatter()


class WithoutSecrets(logging.Filter):
    """Takes users, passwords and queries of addresses, and keys, out of a record and its traceback.

    Parameters that are no good are quoted in full by what refuses them.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every record pass, without what gives away.

        Args:
            record: The record, which is changed.
        """
        try:
            said = record.getMessage()
        except (TypeError, ValueError):
            return True  # the handler says what is wrong with it
        if (clean := hidden(scrubbed(said))) != said:
            record.msg, record.args = clean, ()
        if record.exc_info and not record.exc_text:
            # a formatter takes this for its own
            record.exc_text = hidden(scrubbed(PLAIN.formatException(record.exc_info)))
        return True
