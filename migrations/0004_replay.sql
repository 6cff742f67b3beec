-- Why:  what replay and verification need beside the logs: where the outbox stood at each swap, and what a
--       retry folded out of log order since; and for those who read states in SQL: views with plain names,
--       a word on every column, a role that can read these and nothing else.
-- Lock: access exclusive on generation for a moment (a constant default rewrites nothing), share update
--       exclusive on the others for their comments; no append and no fold waits for these.
-- Beside: the first release's roles; its `quarantine retry` does not fill retried_delivery, so verify
--       after it was replaced everywhere.

alter table generation add column event_position bigint not null default 0;
comment on column generation.event_position is
    'The last position of event_log once the swap, with its amendments, was committed.';
grant insert on generation to recibo_service;

create table retried_delivery (
    log text not null,
    position bigint not null,
    root text not null,
    retried_at timestamptz not null,
    primary key (log, position)
);
comment on table retried_delivery is
    'Deliveries that a retry folded since the last swap: their roots have event ids in the order of folding.';
grant select, insert, update, delete on retried_delivery to recibo_service;

do $$
begin
    create role recibo_analyst nologin;
exception
    -- Roles belong to the cluster: another database of it, or one migrating now, may have made it.
    when duplicate_object or unique_violation then null;
end
$$;

-- What every column is. A swap copies these with the tables.

comment on table order_state is 'What is true now of each order.';
comment on table dispute_state is 'What is true now of each contest of an order.';
comment on table subscription_state is 'What is true now of each subscription.';
comment on table withdrawal_state is 'What is true now of each withdrawal.';
comment on table cart_state is 'What is true now of each abandoned cart.';
comment on column order_state.root is 'The order''s id everywhere, <account>:order:<order_id>.';
comment on column order_state.account is 'Whose order it is.';
comment on column order_state.order_id is 'The provider''s id.';
comment on column order_state.provider is
    'Who told of it last; operator while nothing but decisions is known.';
comment on column order_state.status is
    'Where it stands; authorized is not money, and partially_paid is unpaid for release.';
comment on column order_state.provider_status is
    'The provider''s last word, as sent; not to be trusted where the status is computed.';
comment on column order_state.amount_cents is 'The order''s total. Minor units of currency.';
comment on column order_state.refunded_cents is 'What was given back so far. Minor units of currency.';
comment on column order_state.paid_cents is
    'Sum of the payments that are paid now; null where the provider tells of no single payments. Minor units of currency.';
comment on column order_state.currency is 'ISO 4217.';
comment on column order_state.reference is 'The merchant''s own id of the order.';
comment on column order_state.method is
    'As the provider names it, in lower case; of several payments that which was told of last.';
comment on column order_state.channel is 'pos for an order taken at a terminal.';
comment on column order_state.payer_document is
    'Keyed hash of the payer''s document, null where absent or without a configured key.';
comment on column order_state.payer_email is 'Keyed hash of the payer''s e-mail, null likewise.';
comment on column order_state.payer_phone is 'Keyed hash of the payer''s phone, null likewise.';
comment on column order_state.products is 'The merchant''s product codes.';
comment on column order_state.payments is
    'As JSON, in the order in which they appeared; null where the provider tells of no single payments.';
comment on column order_state.total_unknown is
    'Whether the status had to be computed without knowing the order''s total or a payment''s share.';
comment on column order_state.flags is
    'What a human should look at, as JSON: name and occurred_at, by instant, then name.';
comment on column order_state.history is
    'The statuses so far, as JSON: status and began_at; the last entry is the current one.';
comment on column order_state.facts is
    'How many distinct facts this derives from: the second half of the version.';
comment on column dispute_state.root is 'The order''s.';
comment on column dispute_state.ordinal is
    'From 1, by time of opening. It can shift when an earlier contest is learned late.';
comment on column dispute_state.account is 'Whose order it is.';
comment on column dispute_state.subject is
    'What is contested: the provider''s id of the order, for Gen of the payment.';
comment on column dispute_state.provider is 'Who told of the contest.';
comment on column dispute_state.status is
    'Where it stands; charged_back is not yet lost, which only an operator can say.';
comment on column dispute_state.reason is 'Why it is closed: the money was given back.';
comment on column dispute_state.opened_at is
    'When the first contested snapshot occurred. Nanoseconds since the epoch, UTC.';
comment on column dispute_state.ended_at is
    'When the first other snapshot of the subject occurred; null while there is none. Nanoseconds since the epoch, UTC.';
comment on column dispute_state.decided_at is
    'When the operator decided; null without a decision. Nanoseconds since the epoch, UTC.';
comment on column dispute_state.history is
    'The statuses so far, as JSON: status and began_at; the last entry is the current one.';
comment on column dispute_state.facts is
    'How many distinct facts this derives from: the second half of the version.';
comment on column subscription_state.root is
    'The subscription''s id everywhere, <account>:subscription:<subscription_id>.';
comment on column subscription_state.account is 'Whose subscription it is.';
comment on column subscription_state.subscription_id is 'The provider''s id.';
comment on column subscription_state.provider is 'Who told of it last.';
comment on column subscription_state.status is 'Where it stands.';
comment on column subscription_state.provider_status is 'The provider''s last word, as sent.';
comment on column subscription_state.reference is 'The merchant''s own id of the subscription.';
comment on column subscription_state.payer_document is
    'Keyed hash of the payer''s document, null where absent or without a configured key.';
comment on column subscription_state.payer_email is 'Keyed hash of the payer''s e-mail, null likewise.';
comment on column subscription_state.payer_phone is 'Keyed hash of the payer''s phone, null likewise.';
comment on column subscription_state.flags is
    'What a human should look at, as JSON: name and occurred_at, by instant, then name.';
comment on column subscription_state.history is
    'The statuses so far, as JSON: status and began_at; the last entry is the current one.';
comment on column subscription_state.facts is
    'How many distinct facts this derives from: the second half of the version.';
comment on column withdrawal_state.root is
    'The withdrawal''s id everywhere, <account>:withdrawal:<withdrawal_id>.';
comment on column withdrawal_state.account is 'Whose withdrawal it is.';
comment on column withdrawal_state.withdrawal_id is 'The provider''s id.';
comment on column withdrawal_state.provider is 'Who told of it last.';
comment on column withdrawal_state.status is
    'Where it stands; approved is accepted, not proof that the bank settled it.';
comment on column withdrawal_state.provider_status is 'The provider''s last word, as sent.';
comment on column withdrawal_state.amount_cents is 'What is to be paid out. Minor units of currency.';
comment on column withdrawal_state.currency is 'ISO 4217.';
comment on column withdrawal_state.reference is 'The merchant''s own id of the withdrawal.';
comment on column withdrawal_state.flags is
    'What a human should look at, as JSON: name and occurred_at, by instant, then name.';
comment on column withdrawal_state.history is
    'The statuses so far, as JSON: status and began_at; the last entry is the current one.';
comment on column withdrawal_state.facts is
    'How many distinct facts this derives from: the second half of the version.';
comment on column cart_state.root is 'The cart''s id everywhere, <account>:cart:<cart_id>.';
comment on column cart_state.account is 'Whose cart it is.';
comment on column cart_state.cart_id is 'The provider''s id, or a hash that stands for it.';
comment on column cart_state.provider is 'Who told of it last.';
comment on column cart_state.status is 'No provider tells more of a cart.';
comment on column cart_state.amount_cents is 'What the cart would have cost. Minor units of currency.';
comment on column cart_state.currency is 'ISO 4217.';
comment on column cart_state.payer_document is
    'Keyed hash of the payer''s document, null where absent or without a configured key.';
comment on column cart_state.payer_email is 'Keyed hash of the payer''s e-mail, null likewise.';
comment on column cart_state.payer_phone is 'Keyed hash of the payer''s phone, null likewise.';
comment on column cart_state.products is 'The merchant''s product codes.';
comment on column cart_state.recovery_url is 'Where the buyer can resume, without query and fragment.';
comment on column cart_state.abandoned_at is
    'When the first fact of it occurred. Nanoseconds since the epoch, UTC.';
comment on column cart_state.flags is
    'What a human should look at, as JSON: name and occurred_at, by instant, then name.';
comment on column cart_state.history is
    'The statuses so far, as JSON: status and began_at; the last entry is the current one.';
comment on column cart_state.facts is
    'How many distinct facts this derives from: the second half of the version.';
comment on table log_head is 'The head of each log: lock and counter of its appends.';
comment on table log_partition is 'The ranges of both logs that have a partition.';
comment on column timeline.root is 'The root, <account>:<kind>:<id>.';
comment on column timeline.partition is 'Its partition in Kafka, which orders its deliveries.';
comment on column timeline.facts is 'How many facts there are.';
comment on column timeline.document is 'The facts, as a JSON array in UTF-8.';
comment on column quarantine.log is 'The log that holds the delivery.';
comment on column quarantine.position is 'Where it is in it.';
comment on column quarantine.partition is 'The partition of its row.';
comment on column quarantine.source is 'The endpoint that it came to.';
comment on column quarantine.provider is 'Whose format it should be in.';
comment on column quarantine.root is 'What it is about, where that could be read.';
comment on column quarantine.reason is 'Which field could not be read, and what was expected there.';
comment on column quarantine.quarantined_at is 'Since when.';
comment on column parked_root.root is 'The root.';
comment on column parked_root.log is 'The log that holds its deliveries.';
comment on column parked_root.partition is 'Its partition.';
comment on column parked_root.positions is 'The deliveries that wait, in log order.';
comment on column parked_root.reason is 'Why the first of them could not be folded.';
comment on column parked_root.parked_at is 'Since when.';
comment on column retried_delivery.log is 'The log that holds the delivery.';
comment on column retried_delivery.position is 'Where it is in it.';
comment on column retried_delivery.root is 'The root that it was folded into.';
comment on column retried_delivery.retried_at is 'When.';
comment on column generation.number is 'The generation: the first half of every version since.';
comment on column generation.swapped_at is 'When the swap was.';
comment on column generation.positions is 'Partition to log position at which it happened, as JSON.';
comment on column projector_position.log is 'The log.';
comment on column projector_position.partition is 'The partition.';
comment on column projector_position.position is
    'Every row of the partition up to here is folded, quarantined or parked.';
comment on column projector_position.kafka_offset is 'The next offset to read; a hint.';
comment on column projector_position.generation is 'Of its states.';
comment on column projector_position.fold_version is 'What folded its states.';
comment on column delivery_log.position is 'Dense, in commit order.';
comment on column delivery_log.source is 'The endpoint that it came to.';
comment on column delivery_log.account is 'Whose roots it is about.';
comment on column delivery_log.provider is 'Whose format it is in.';
comment on column delivery_log.root is
    'What it is about, <account>:<kind>:<id>; null where the ingress could not read it.';
comment on column delivery_log.kind is 'The marker in the URL.';
comment on column delivery_log.received_at is 'The clock of the ingress.';
comment on column delivery_log.recorded_at is 'When it was appended; grows with the position.';
comment on column delivery_log.trust is 'The checks that the sender passed.';
comment on column delivery_log.remote_ip is 'Where it came from.';
comment on column delivery_log.headers is 'All names; values of the allowed ones.';
comment on column delivery_log.body is 'The exact bytes.';
comment on column delivery_log.body_sha256 is 'Of the body.';
comment on column event_log.position is 'Dense, in commit order.';
comment on column event_log.recorded_at is 'When it was appended.';
comment on column event_log.key is 'Of the record in Kafka.';
comment on column event_log.event_id is 'ce_id.';
comment on column event_log.headers is 'Of the record in Kafka.';
comment on column log_head.log is 'deliveries or events.';
comment on column log_head.last_position is 'How far it goes.';
comment on column log_head.last_recorded_at is 'Of its last row.';
comment on column log_head.partition_rows is 'Rows of each partition made from now on.';
comment on column log_partition.log is 'deliveries or events.';
comment on column log_partition.first_position is 'The first position that belongs there.';
comment on column log_partition.end_position is 'The first that does not any more.';

create schema analyst;
comment on schema analyst is 'Views for people: plain names, instants as timestamptz. Start here.';

-- Nanoseconds as Postgres tells time, cut to the microsecond.
create function analyst.instant(nanoseconds bigint) returns timestamptz
language sql stable parallel safe
return timestamptz 'epoch' + (nanoseconds / 1000) * interval '1 microsecond';
comment on function analyst.instant is 'The instant of nanoseconds since the epoch, cut to the microsecond.';

create view analyst.orders as
select root, account, order_id, provider, status, provider_status, amount_cents, refunded_cents,
       paid_cents, currency, reference, method, channel, payer_document, payer_email, payer_phone,
       products, payments, total_unknown, flags, history, facts,
       analyst.instant((history -> 0 ->> 'began_at')::bigint) as began_at,
       (history -> 0 ->> 'began_at')::bigint as began_at_ns,
       analyst.instant((history -> -1 ->> 'began_at')::bigint) as changed_at,
       (history -> -1 ->> 'began_at')::bigint as changed_at_ns
from order_state;
comment on view analyst.orders is 'What is true now of each order.';
comment on column analyst.orders.root is 'The order''s id everywhere, <account>:order:<order_id>.';
comment on column analyst.orders.account is 'Whose order it is.';
comment on column analyst.orders.order_id is 'The provider''s id.';
comment on column analyst.orders.provider is
    'Who told of it last; operator while nothing but decisions is known.';
comment on column analyst.orders.status is
    'Where it stands; authorized is not money, and partially_paid is unpaid for release.';
comment on column analyst.orders.provider_status is
    'The provider''s last word, as sent; not to be trusted where the status is computed.';
comment on column analyst.orders.amount_cents is 'The order''s total. Minor units of currency.';
comment on column analyst.orders.refunded_cents is 'What was given back so far. Minor units of currency.';
comment on column analyst.orders.paid_cents is
    'Sum of the payments that are paid now; null where the provider tells of no single payments. Minor units of currency.';
comment on column analyst.orders.currency is 'ISO 4217.';
comment on column analyst.orders.reference is 'The merchant''s own id of the order.';
comment on column analyst.orders.method is
    'As the provider names it, in lower case; of several payments that which was told of last.';
comment on column analyst.orders.channel is 'pos for an order taken at a terminal.';
comment on column analyst.orders.payer_document is
    'Keyed hash of the payer''s document, null where absent or without a configured key.';
comment on column analyst.orders.payer_email is 'Keyed hash of the payer''s e-mail, null likewise.';
comment on column analyst.orders.payer_phone is 'Keyed hash of the payer''s phone, null likewise.';
comment on column analyst.orders.products is 'The merchant''s product codes.';
comment on column analyst.orders.payments is
    'As JSON, in the order in which they appeared; null where the provider tells of no single payments.';
comment on column analyst.orders.total_unknown is
    'Whether the status had to be computed without knowing the order''s total or a payment''s share.';
comment on column analyst.orders.flags is
    'What a human should look at, as JSON: name and occurred_at, by instant, then name.';
comment on column analyst.orders.history is
    'The statuses so far, as JSON: status and began_at; the last entry is the current one.';
comment on column analyst.orders.facts is
    'How many distinct facts this derives from: the second half of the version.';
comment on column analyst.orders.began_at is 'When the first fact of it occurred.';
comment on column analyst.orders.began_at_ns is 'The same, exact: nanoseconds since the epoch, UTC.';
comment on column analyst.orders.changed_at is 'When its status last changed.';
comment on column analyst.orders.changed_at_ns is 'The same, exact: nanoseconds since the epoch, UTC.';

create view analyst.disputes as
select root, ordinal, account, subject, provider, status, reason,
       analyst.instant(opened_at) as opened_at, opened_at as opened_at_ns,
       analyst.instant(ended_at) as ended_at, ended_at as ended_at_ns,
       analyst.instant(decided_at) as decided_at, decided_at as decided_at_ns, history, facts,
       analyst.instant((history -> 0 ->> 'began_at')::bigint) as began_at,
       (history -> 0 ->> 'began_at')::bigint as began_at_ns,
       analyst.instant((history -> -1 ->> 'began_at')::bigint) as changed_at,
       (history -> -1 ->> 'began_at')::bigint as changed_at_ns
from dispute_state;
comment on view analyst.disputes is 'What is true now of each contest of an order.';
comment on column analyst.disputes.root is 'The order''s.';
comment on column analyst.disputes.ordinal is
    'From 1, by time of opening. It can shift when an earlier contest is learned late.';
comment on column analyst.disputes.account is 'Whose order it is.';
comment on column analyst.disputes.subject is
    'What is contested: the provider''s id of the order, for Gen of the payment.';
comment on column analyst.disputes.provider is 'Who told of the contest.';
comment on column analyst.disputes.status is
    'Where it stands; charged_back is not yet lost, which only an operator can say.';
comment on column analyst.disputes.reason is 'Why it is closed: the money was given back.';
comment on column analyst.disputes.opened_at is 'When the first contested snapshot occurred.';
comment on column analyst.disputes.opened_at_ns is 'The same, exact: nanoseconds since the epoch, UTC.';
comment on column analyst.disputes.ended_at is
    'When the first other snapshot of the subject occurred; null while there is none.';
comment on column analyst.disputes.ended_at_ns is 'The same, exact: nanoseconds since the epoch, UTC.';
comment on column analyst.disputes.decided_at is 'When the operator decided; null without a decision.';
comment on column analyst.disputes.decided_at_ns is 'The same, exact: nanoseconds since the epoch, UTC.';
comment on column analyst.disputes.history is
    'The statuses so far, as JSON: status and began_at; the last entry is the current one.';
comment on column analyst.disputes.facts is
    'How many distinct facts this derives from: the second half of the version.';
comment on column analyst.disputes.began_at is 'When the first fact of it occurred.';
comment on column analyst.disputes.began_at_ns is 'The same, exact: nanoseconds since the epoch, UTC.';
comment on column analyst.disputes.changed_at is 'When its status last changed.';
comment on column analyst.disputes.changed_at_ns is 'The same, exact: nanoseconds since the epoch, UTC.';

create view analyst.subscriptions as
select root, account, subscription_id, provider, status, provider_status, reference,
       payer_document, payer_email, payer_phone, flags, history, facts,
       analyst.instant((history -> 0 ->> 'began_at')::bigint) as began_at,
       (history -> 0 ->> 'began_at')::bigint as began_at_ns,
       analyst.instant((history -> -1 ->> 'began_at')::bigint) as changed_at,
       (history -> -1 ->> 'began_at')::bigint as changed_at_ns
from subscription_state;
comment on view analyst.subscriptions is 'What is true now of each subscription.';
comment on column analyst.subscriptions.root is
    'The subscription''s id everywhere, <account>:subscription:<subscription_id>.';
comment on column analyst.subscriptions.account is 'Whose subscription it is.';
comment on column analyst.subscriptions.subscription_id is 'The provider''s id.';
comment on column analyst.subscriptions.provider is 'Who told of it last.';
comment on column analyst.subscriptions.status is 'Where it stands.';
comment on column analyst.subscriptions.provider_status is 'The provider''s last word, as sent.';
comment on column analyst.subscriptions.reference is 'The merchant''s own id of the subscription.';
comment on column analyst.subscriptions.payer_document is
    'Keyed hash of the payer''s document, null where absent or without a configured key.';
comment on column analyst.subscriptions.payer_email is 'Keyed hash of the payer''s e-mail, null likewise.';
comment on column analyst.subscriptions.payer_phone is 'Keyed hash of the payer''s phone, null likewise.';
comment on column analyst.subscriptions.flags is
    'What a human should look at, as JSON: name and occurred_at, by instant, then name.';
comment on column analyst.subscriptions.history is
    'The statuses so far, as JSON: status and began_at; the last entry is the current one.';
comment on column analyst.subscriptions.facts is
    'How many distinct facts this derives from: the second half of the version.';
comment on column analyst.subscriptions.began_at is 'When the first fact of it occurred.';
comment on column analyst.subscriptions.began_at_ns is 'The same, exact: nanoseconds since the epoch, UTC.';
comment on column analyst.subscriptions.changed_at is 'When its status last changed.';
comment on column analyst.subscriptions.changed_at_ns is 'The same, exact: nanoseconds since the epoch, UTC.';

create view analyst.withdrawals as
select root, account, withdrawal_id, provider, status, provider_status, amount_cents, currency,
       reference, flags, history, facts,
       analyst.instant((history -> 0 ->> 'began_at')::bigint) as began_at,
       (history -> 0 ->> 'began_at')::bigint as began_at_ns,
       analyst.instant((history -> -1 ->> 'began_at')::bigint) as changed_at,
       (history -> -1 ->> 'began_at')::bigint as changed_at_ns
from withdrawal_state;
comment on view analyst.withdrawals is 'What is true now of each withdrawal.';
comment on column analyst.withdrawals.root is
    'The withdrawal''s id everywhere, <account>:withdrawal:<withdrawal_id>.';
comment on column analyst.withdrawals.account is 'Whose withdrawal it is.';
comment on column analyst.withdrawals.withdrawal_id is 'The provider''s id.';
comment on column analyst.withdrawals.provider is 'Who told of it last.';
comment on column analyst.withdrawals.status is
    'Where it stands; approved is accepted, not proof that the bank settled it.';
comment on column analyst.withdrawals.provider_status is 'The provider''s last word, as sent.';
comment on column analyst.withdrawals.amount_cents is 'What is to be paid out. Minor units of currency.';
comment on column analyst.withdrawals.currency is 'ISO 4217.';
comment on column analyst.withdrawals.reference is 'The merchant''s own id of the withdrawal.';
comment on column analyst.withdrawals.flags is
    'What a human should look at, as JSON: name and occurred_at, by instant, then name.';
comment on column analyst.withdrawals.history is
    'The statuses so far, as JSON: status and began_at; the last entry is the current one.';
comment on column analyst.withdrawals.facts is
    'How many distinct facts this derives from: the second half of the version.';
comment on column analyst.withdrawals.began_at is 'When the first fact of it occurred.';
comment on column analyst.withdrawals.began_at_ns is 'The same, exact: nanoseconds since the epoch, UTC.';
comment on column analyst.withdrawals.changed_at is 'When its status last changed.';
comment on column analyst.withdrawals.changed_at_ns is 'The same, exact: nanoseconds since the epoch, UTC.';

create view analyst.carts as
select root, account, cart_id, provider, status, amount_cents, currency, payer_document,
       payer_email, payer_phone, products, recovery_url,
       analyst.instant(abandoned_at) as abandoned_at, abandoned_at as abandoned_at_ns, flags,
       history, facts,
       analyst.instant((history -> 0 ->> 'began_at')::bigint) as began_at,
       (history -> 0 ->> 'began_at')::bigint as began_at_ns,
       analyst.instant((history -> -1 ->> 'began_at')::bigint) as changed_at,
       (history -> -1 ->> 'began_at')::bigint as changed_at_ns
from cart_state;
comment on view analyst.carts is 'What is true now of each abandoned cart.';
comment on column analyst.carts.root is 'The cart''s id everywhere, <account>:cart:<cart_id>.';
comment on column analyst.carts.account is 'Whose cart it is.';
comment on column analyst.carts.cart_id is 'The provider''s id, or a hash that stands for it.';
comment on column analyst.carts.provider is 'Who told of it last.';
comment on column analyst.carts.status is 'No provider tells more of a cart.';
comment on column analyst.carts.amount_cents is 'What the cart would have cost. Minor units of currency.';
comment on column analyst.carts.currency is 'ISO 4217.';
comment on column analyst.carts.payer_document is
    'Keyed hash of the payer''s document, null where absent or without a configured key.';
comment on column analyst.carts.payer_email is 'Keyed hash of the payer''s e-mail, null likewise.';
comment on column analyst.carts.payer_phone is 'Keyed hash of the payer''s phone, null likewise.';
comment on column analyst.carts.products is 'The merchant''s product codes.';
comment on column analyst.carts.recovery_url is 'Where the buyer can resume, without query and fragment.';
comment on column analyst.carts.abandoned_at is 'When the first fact of it occurred.';
comment on column analyst.carts.abandoned_at_ns is 'The same, exact: nanoseconds since the epoch, UTC.';
comment on column analyst.carts.flags is
    'What a human should look at, as JSON: name and occurred_at, by instant, then name.';
comment on column analyst.carts.history is
    'The statuses so far, as JSON: status and began_at; the last entry is the current one.';
comment on column analyst.carts.facts is
    'How many distinct facts this derives from: the second half of the version.';
comment on column analyst.carts.began_at is 'When the first fact of it occurred.';
comment on column analyst.carts.began_at_ns is 'The same, exact: nanoseconds since the epoch, UTC.';
comment on column analyst.carts.changed_at is 'When its status last changed.';
comment on column analyst.carts.changed_at_ns is 'The same, exact: nanoseconds since the epoch, UTC.';

create view analyst.order_statuses as
select s.root, e.ordinality::integer as ordinal, e.entry ->> 'status' as status,
       analyst.instant((e.entry ->> 'began_at')::bigint) as began_at,
       (e.entry ->> 'began_at')::bigint as began_at_ns
from order_state s
cross join jsonb_array_elements(s.history) with ordinality as e (entry, ordinality);
comment on view analyst.order_statuses is 'Each status that an order had, and when it began.';
comment on column analyst.order_statuses.root is 'Whose status it was.';
comment on column analyst.order_statuses.ordinal is 'From 1, in order.';
comment on column analyst.order_statuses.status is 'The status.';
comment on column analyst.order_statuses.began_at is 'When the fact that brought it occurred.';
comment on column analyst.order_statuses.began_at_ns is 'The same, exact: nanoseconds since the epoch, UTC.';

create view analyst.subscription_statuses as
select s.root, e.ordinality::integer as ordinal, e.entry ->> 'status' as status,
       analyst.instant((e.entry ->> 'began_at')::bigint) as began_at,
       (e.entry ->> 'began_at')::bigint as began_at_ns
from subscription_state s
cross join jsonb_array_elements(s.history) with ordinality as e (entry, ordinality);
comment on view analyst.subscription_statuses is 'Each status that a subscription had, and when it began.';
comment on column analyst.subscription_statuses.root is 'Whose status it was.';
comment on column analyst.subscription_statuses.ordinal is 'From 1, in order.';
comment on column analyst.subscription_statuses.status is 'The status.';
comment on column analyst.subscription_statuses.began_at is 'When the fact that brought it occurred.';
comment on column analyst.subscription_statuses.began_at_ns is
    'The same, exact: nanoseconds since the epoch, UTC.';

create view analyst.withdrawal_statuses as
select s.root, e.ordinality::integer as ordinal, e.entry ->> 'status' as status,
       analyst.instant((e.entry ->> 'began_at')::bigint) as began_at,
       (e.entry ->> 'began_at')::bigint as began_at_ns
from withdrawal_state s
cross join jsonb_array_elements(s.history) with ordinality as e (entry, ordinality);
comment on view analyst.withdrawal_statuses is 'Each status that a withdrawal had, and when it began.';
comment on column analyst.withdrawal_statuses.root is 'Whose status it was.';
comment on column analyst.withdrawal_statuses.ordinal is 'From 1, in order.';
comment on column analyst.withdrawal_statuses.status is 'The status.';
comment on column analyst.withdrawal_statuses.began_at is 'When the fact that brought it occurred.';
comment on column analyst.withdrawal_statuses.began_at_ns is
    'The same, exact: nanoseconds since the epoch, UTC.';

create view analyst.dispute_statuses as
select s.root, s.ordinal as dispute, e.ordinality::integer as ordinal, e.entry ->> 'status' as status,
       analyst.instant((e.entry ->> 'began_at')::bigint) as began_at,
       (e.entry ->> 'began_at')::bigint as began_at_ns
from dispute_state s
cross join jsonb_array_elements(s.history) with ordinality as e (entry, ordinality);
comment on view analyst.dispute_statuses is 'Each status that a dispute had, and when it began.';
comment on column analyst.dispute_statuses.root is 'The order.';
comment on column analyst.dispute_statuses.dispute is 'The ordinal of the dispute.';
comment on column analyst.dispute_statuses.ordinal is 'From 1, in order.';
comment on column analyst.dispute_statuses.status is 'The status.';
comment on column analyst.dispute_statuses.began_at is 'When the fact that brought it occurred.';
comment on column analyst.dispute_statuses.began_at_ns is
    'The same, exact: nanoseconds since the epoch, UTC.';

create view analyst.order_flags as
select s.root, e.entry ->> 'name' as name,
       analyst.instant((e.entry ->> 'occurred_at')::bigint) as occurred_at,
       (e.entry ->> 'occurred_at')::bigint as occurred_at_ns
from order_state s
cross join jsonb_array_elements(s.flags) as e (entry);
comment on view analyst.order_flags is 'What a human should look at, order by order.';
comment on column analyst.order_flags.root is 'The order.';
comment on column analyst.order_flags.name is
    'Which flag; docs/providers/README.md, section 2, says what each tells.';
comment on column analyst.order_flags.occurred_at is 'When the fact that raised it occurred.';
comment on column analyst.order_flags.occurred_at_ns is 'The same, exact: nanoseconds since the epoch, UTC.';

create view analyst.order_payments as
select s.root, p.id as payment_id, p.status, p.total_cents, s.currency, p.reference, p.method
from order_state s
cross join jsonb_to_recordset(s.payments)
    as p (id text, status text, total_cents bigint, reference text, method text)
where s.payments is not null;
comment on view analyst.order_payments is 'The single payments of the orders whose provider tells of them.';
comment on column analyst.order_payments.root is 'The order.';
comment on column analyst.order_payments.payment_id is 'The provider''s id of the payment.';
comment on column analyst.order_payments.status is 'By the payment''s own snapshots alone.';
comment on column analyst.order_payments.total_cents is
    'With shipping, additions and discounts. Minor units of currency.';
comment on column analyst.order_payments.currency is 'ISO 4217, of the order.';
comment on column analyst.order_payments.reference is 'The merchant''s own id of the payment.';
comment on column analyst.order_payments.method is 'As the provider names it, in lower case.';

create view analyst.cart_recoveries as
select cart_root, order_root, account, analyst.instant(abandoned_at) as abandoned_at,
       abandoned_at as abandoned_at_ns, analyst.instant(paid_at) as paid_at, paid_at as paid_at_ns, amount_cents,
       currency
from cart_recovery;
comment on view analyst.cart_recoveries is
    'Carts followed within 7 days by a paid sale of the same payer and product.';
comment on column analyst.cart_recoveries.cart_root is 'The cart.';
comment on column analyst.cart_recoveries.order_root is 'The sale that followed.';
comment on column analyst.cart_recoveries.account is 'Whose both are.';
comment on column analyst.cart_recoveries.abandoned_at is 'When the first fact of the cart occurred.';
comment on column analyst.cart_recoveries.abandoned_at_ns is
    'The same, exact: nanoseconds since the epoch, UTC.';
comment on column analyst.cart_recoveries.paid_at is 'When the sale was paid.';
comment on column analyst.cart_recoveries.paid_at_ns is 'The same, exact: nanoseconds since the epoch, UTC.';
comment on column analyst.cart_recoveries.amount_cents is 'What was paid. Minor units of currency.';
comment on column analyst.cart_recoveries.currency is 'ISO 4217.';

create view analyst.quarantined as
select log || '-' || position as receipt, position, source, provider, root, reason, quarantined_at
from quarantine;
comment on view analyst.quarantined is
    'Deliveries that the code cannot interpret yet. Their facts are in no state.';
comment on column analyst.quarantined.receipt is 'The name of the delivery.';
comment on column analyst.quarantined.position is 'Where it is in the log.';
comment on column analyst.quarantined.source is 'The endpoint that it came to.';
comment on column analyst.quarantined.provider is 'Whose format it should be in.';
comment on column analyst.quarantined.root is 'What it is about, where that could be read.';
comment on column analyst.quarantined.reason is 'Which field could not be read, and what was expected there.';
comment on column analyst.quarantined.quarantined_at is 'Since when.';

create view analyst.parked as
select root, cardinality(positions) as deliveries, positions, reason, parked_at
from parked_root;
comment on view analyst.parked is 'Roots whose fold fails: their states lack the deliveries that wait.';
comment on column analyst.parked.root is 'The root.';
comment on column analyst.parked.deliveries is 'How many wait.';
comment on column analyst.parked.positions is 'Where they are in the log.';
comment on column analyst.parked.reason is 'Why the first of them could not be folded.';
comment on column analyst.parked.parked_at is 'Since when.';

create view analyst.deliveries as
select position, source, account, provider, root, kind, received_at, recorded_at, trust,
       octet_length(body) as body_bytes, encode(body_sha256, 'hex') as body_sha256
from delivery_log;
comment on view analyst.deliveries is
    'Every delivery that was received, without its body, headers and sender.';
comment on column analyst.deliveries.position is 'Dense, in the order in which they were stored.';
comment on column analyst.deliveries.source is 'The endpoint that it came to.';
comment on column analyst.deliveries.account is 'Whose roots it is about.';
comment on column analyst.deliveries.provider is 'Whose format it is in.';
comment on column analyst.deliveries.root is 'What it is about; null where the ingress could not read it.';
comment on column analyst.deliveries.kind is 'The marker in the URL.';
comment on column analyst.deliveries.received_at is 'The clock of the ingress.';
comment on column analyst.deliveries.recorded_at is 'When it was stored; grows with the position.';
comment on column analyst.deliveries.trust is 'The checks that the sender passed.';
comment on column analyst.deliveries.body_bytes is 'How long it is.';
comment on column analyst.deliveries.body_sha256 is 'Hex, of the exact bytes.';

create view analyst.generations as
select number, swapped_at, positions, event_position
from generation;
comment on view analyst.generations is 'Each swap of all states, and where it happened.';
comment on column analyst.generations.number is 'The generation: the first half of every version since.';
comment on column analyst.generations.swapped_at is 'When.';
comment on column analyst.generations.positions is 'Partition to log position at which it happened, as JSON.';
comment on column analyst.generations.event_position is
    'The last position of the event log once the swap was committed.';

grant usage on schema analyst to recibo_analyst;
grant select on all tables in schema analyst to recibo_analyst;
comment on column cart_recovery.cart_root is 'The cart.';
comment on column cart_recovery.order_root is 'The sale that followed.';
comment on column cart_recovery.account is 'Whose both are.';
comment on column cart_recovery.abandoned_at is
    'When the first fact of the cart occurred. Nanoseconds since the epoch, UTC.';
comment on column cart_recovery.paid_at is 'When the sale was paid. Nanoseconds since the epoch, UTC.';
comment on column cart_recovery.amount_cents is 'What was paid. Minor units of currency.';
comment on column cart_recovery.currency is 'ISO 4217.';
comment on table schema_migration is 'The migrations that were applied.';
comment on column schema_migration.name is 'The file.';
comment on column schema_migration.sha256 is 'Of its text: a file that was applied never changes.';
comment on column schema_migration.applied_at is 'When.';
