// Durations and rates: strict strings or milliseconds. Parsed once, with errors that name the path.

/** Milliseconds, or a number and a unit without a space: `'500ms' '30s' '15m' '4h' '5d' '2w'`. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd' | 'w'}`

/** `<number>/<s|min|h|d>`, as `'20/min'`. */
export type Rate = `${number}/${'s' | 'min' | 'h' | 'd'}`
