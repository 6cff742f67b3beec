-- Why:  a timeline is only ever found by its root, which is unique, or walked in the order of roots. No
--       statistics make that better, and gathering them reads thirty thousand pages each time.
-- Lock: share update exclusive; no append and no fold waits for it. No row is rewritten.
-- Beside: the release before it asks the same.

alter table timeline
    alter column root set statistics 0,
    alter column partition set statistics 0,
    alter column facts set statistics 0,
    alter column document set statistics 0;
