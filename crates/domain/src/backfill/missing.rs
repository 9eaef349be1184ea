//! Which days of a large request did not come.

use jiff::civil::Date;

use super::{Chunk, Sent};
use crate::fetch::Window;

/// The days of `window` that have to be asked for again, oldest first. Chunks are numbered, so a hole lies between the
/// days of its neighbours; the days at its borders are among them, since a day may be spread over two chunks. Where the
/// numbers say nothing, what no chunk covers is missing; where that is nothing either, all of it is.
pub fn missing(window: Window, sent: &Sent) -> Vec<Window> {
    let holes = by_number(window, sent).unwrap_or_else(|| by_days(window, sent));
    let holes = joined(holes.into_iter().filter_map(|hole| within(&window, hole)).collect());
    if holes.is_empty() { vec![window] } else { holes }
}

/// `None` where numbers are missing, or do not follow the days.
fn by_number(window: Window, sent: &Sent) -> Option<Vec<Window>> {
    let mut placed: Vec<(u32, Date, Date)> = Vec::new();
    for chunk in sent.chunks.values() {
        placed.push(place(chunk)?);
    }
    placed.sort_unstable();
    let expected = sent.expected?;
    let ascending = placed.windows(2).all(|pair| pair[0].2 <= pair[1].1);
    let descending = placed.windows(2).all(|pair| pair[0].1 >= pair[1].2);
    let first = placed.first()?.0;
    let last = placed.last()?.0;
    if !(ascending || descending) {
        return None;
    }
    let mut holes = Vec::new();
    for pair in placed.windows(2).filter(|pair| pair[1].0 > pair[0].0 + 1) {
        let days = if ascending { (pair[0].2, pair[1].1) } else { (pair[1].2, pair[0].1) };
        holes.push(Window { start: days.0, end: days.1.tomorrow().unwrap_or(Date::MAX) });
    }
    // Whether numbers begin at 0 or at 1 shows at their ends, if those came.
    let (from_zero, from_one) = (first == 0, last == expected);
    let lacks_first = !(from_zero || (first == 1 && from_one)) && first <= expected;
    let lacks_last = !(from_one || (from_zero && last + 1 == expected));
    let (oldest, newest) = if ascending { (lacks_first, lacks_last) } else { (lacks_last, lacks_first) };
    let seen = placed.iter().map(|(_, start, end)| (*start, *end));
    let (start, end) = seen.reduce(|all, one| (all.0.min(one.0), all.1.max(one.1)))?;
    if oldest {
        holes.push(Window { start: window.start, end: start.tomorrow().unwrap_or(Date::MAX) });
    }
    if newest {
        holes.push(Window { start: end, end: window.end });
    }
    Some(holes)
}

fn place(chunk: &Chunk) -> Option<(u32, Date, Date)> {
    let (start, end) = chunk.days?;
    Some((chunk.number?, start, end))
}

/// What lies between the chunks, and the days at the borders.
fn by_days(window: Window, sent: &Sent) -> Vec<Window> {
    let mut covered: Vec<(Date, Date)> = sent.chunks.values().filter_map(|chunk| chunk.days).collect();
    covered.sort_unstable();
    let mut holes = Vec::new();
    let mut reached: Option<Date> = None;
    for (start, end) in covered {
        let after = reached.map_or(Some(window.start), |day| day.tomorrow().ok());
        if after.is_some_and(|after| start > after) {
            let from = reached.unwrap_or(window.start);
            holes.push(Window { start: from, end: start.tomorrow().unwrap_or(Date::MAX) });
        }
        reached = reached.max(Some(end));
    }
    if let Some(day) = reached
        && day.tomorrow().is_ok_and(|next| next < window.end)
    {
        holes.push(Window { start: day, end: window.end });
    }
    holes
}

fn within(window: &Window, hole: Window) -> Option<Window> {
    let cut = Window { start: hole.start.max(window.start), end: hole.end.min(window.end) };
    (!cut.is_empty()).then_some(cut)
}

fn joined(mut holes: Vec<Window>) -> Vec<Window> {
    holes.sort_unstable();
    let mut joined: Vec<Window> = Vec::new();
    for hole in holes {
        match joined.last_mut() {
            Some(last) if last.touches(&hole) => *last = last.hull(&hole),
            _ => joined.push(hole),
        }
    }
    joined
}
