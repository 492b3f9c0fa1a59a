//! Columns aligned as Swarm's users know them: at least 10 wide, 3 apart, the last one unpadded.

/// Least width of a column, its padding included.
const MIN_WIDTH: usize = 10;
/// Spaces between a column's widest cell and the next column.
const PADDING: usize = 3;

/// Lines whose cells are separated by tabs, aligned.
pub fn align(lines: &[String]) -> String {
    let rows: Vec<Vec<&str>> = lines.iter().map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<usize> = Vec::new();
    for row in &rows {
        for (i, cell) in row.iter().take(row.len() - 1).enumerate() {
            if widths.len() <= i {
                widths.push(MIN_WIDTH);
            }
            widths[i] = widths[i].max(cell.chars().count() + PADDING);
        }
    }
    rows.iter().map(|row| line(row, &widths)).collect()
}

fn line(row: &[&str], widths: &[usize]) -> String {
    let mut out = String::new();
    for (i, cell) in row.iter().enumerate() {
        out.push_str(cell);
        if i + 1 < row.len() {
            let gap = widths[i].saturating_sub(cell.chars().count());
            out.extend(std::iter::repeat_n(' ', gap));
        }
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_ten_wide_or_three_more_than_their_widest_cell() {
        let lines = ["ID\tNAME\tX", "1\tlonger-than-ten\ty"].map(String::from);
        let expected = "ID        NAME              X\n1         longer-than-ten   y\n";
        assert_eq!(align(&lines), expected);
    }

    #[test]
    fn no_lines_make_no_text() {
        assert_eq!(align(&[]), "");
    }
}
