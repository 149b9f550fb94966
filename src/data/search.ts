/** Index of the last item whose key is not above `wanted`; keys ascend and the first is not above it. */
export function lastNotAbove(count: number, keyOf: (index: number) => number, wanted: number): number {
  let low = 0;
  let high = count - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (keyOf(middle) <= wanted) low = middle;
    else high = middle - 1;
  }
  return low;
}
