"""`python -m worker`"""

from worker.amqp.unreadable import tolerate_unreadable_properties
from worker.main import main

tolerate_unreadable_properties()
main()
