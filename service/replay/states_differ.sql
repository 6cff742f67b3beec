-- Whether any state, not only a timeline, differs. A walk of the table; takes no lock.
select exists (select from recibo_shadow.difference where what <> 'timeline')
