"""What ran: sync runs, job runs, schedule runs and every call to the outside."""
