/** The value below which a share of the sorted numbers lies. */
export function quantile(values, share) {
  const sorted = Float64Array.from(values).sort();
  if (sorted.length === 0) {
    return Number.NaN;
  }
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

/** Middle of the values; of an even count, the mean of the middle two. */
export function median(values) {
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  if (sorted.length === 0) {
    return Number.NaN;
  }
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Median and range of per-round values, so that a reader sees how far the rounds lie apart. */
export function spread(values) {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/** Median of the lower half: other work on the machine only ever adds to a round, so the low rounds are the true ones. */
export function quietMedian(values) {
  const sorted = Float64Array.from(values).sort();
  return median(sorted.subarray(0, Math.ceil(sorted.length / 2)));
}
