/**
 * The lines two texts differ in, by their longest common subsequence, in the usual notation.
 *
 * @param {string} before
 * @param {string} after
 * @returns {string} lines that start with a space, a minus or a plus
 */
export function diffLines(before, after) {
  const left = before.split("\n");
  const right = after.split("\n");
  const common = commonLengths(left, right);
  const output = [];
  let row = 0;
  let column = 0;
  while (row < left.length || column < right.length) {
    if (row < left.length && column < right.length && left[row] === right[column]) {
      output.push(` ${left[row]}`);
      row += 1;
      column += 1;
    } else if (
      column >= right.length ||
      (row < left.length && common[row + 1][column] >= common[row][column + 1])
    ) {
      output.push(`-${left[row]}`);
      row += 1;
    } else {
      output.push(`+${right[column]}`);
      column += 1;
    }
  }
  return output.join("\n");
}

// At [i][j]: the length of the longest common subsequence of what follows i on the left and j on the right.
function commonLengths(left, right) {
  const common = Array.from({ length: left.length + 1 }, () => new Uint32Array(right.length + 1));
  for (let row = left.length - 1; row >= 0; row -= 1) {
    for (let column = right.length - 1; column >= 0; column -= 1) {
      common[row][column] =
        left[row] === right[column]
          ? common[row + 1][column + 1] + 1
          : Math.max(common[row + 1][column], common[row][column + 1]);
    }
  }
  return common;
}
