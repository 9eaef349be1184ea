-- Nothing here: the number belongs to a part that comes beside this one.

SELECT 1;
