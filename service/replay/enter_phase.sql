-- Notes that the rebuild has come to the phase $1. Locks the one row.
update progress
set phase = $1
