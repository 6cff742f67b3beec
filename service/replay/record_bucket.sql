-- Notes that the bucket $1 is folded, in the transaction that writes its states. Primary key.
insert into bucket (number, counts)
values ($1, $2)
