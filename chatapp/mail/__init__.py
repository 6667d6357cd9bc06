"""Mail: templates, and the queue that carries each of them to Resend once."""

from chatapp.mail import templates
from chatapp.mail.alarms import alarm
from chatapp.mail.layout import Mail
from chatapp.mail.queue import deliver, enqueue

__all__ = ["Mail", "alarm", "deliver", "enqueue", "templates"]
