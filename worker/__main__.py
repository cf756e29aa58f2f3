"""`python -m worker`"""

from worker.main import main
from worker.unreadable import tolerate_unreadable_properties

tolerate_unreadable_properties()
main()
