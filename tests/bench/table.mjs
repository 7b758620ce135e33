/** Prints rows under a title; the first row is the head, the first column is text and the others are numbers. */
export function printTable(title, rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => String(row[column]).length)));
  const line = (row) =>
    row
      .map((cell, column) =>
        column === 0 ? String(cell).padEnd(widths[0]) : String(cell).padStart(widths[column]),
      )
      .join("  ")
      .trimEnd();
  const [head, ...body] = rows.map(line);
  console.log(`\n${title}\n${"-".repeat(title.length)}\n${head}`);
  for (const each of body) {
    console.log(each);
  }
}

/** A median with its range: `207 (191-244)`. */
export function ranged({ median, min, max }, digits = 0) {
  return `${median.toFixed(digits)} (${min.toFixed(digits)}-${max.toFixed(digits)})`;
}
