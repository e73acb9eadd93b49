// A clock that runs faster than the machine's: a day of delivery in minutes, on real sockets and files.

import { type Clock, systemClock } from '../clock.ts'

/**
 * Makes a clock for `wrapTransport({ clock })` that runs so many times faster than the machine's.
 * @param options.factor how many of its ms pass in one real ms
 */
export function scaledClock(options: { readonly factor: number }): Clock {
  const { factor } = options
  const began = systemClock.now()
  const origin = systemClock.monotonic()
  const elapsed = () => (systemClock.monotonic() - origin) * factor
  return {
    ...systemClock,
    scale: factor,
    now: () => Math.floor(began + elapsed()),
    monotonic: elapsed,
    after: (delayMs, callback) => systemClock.after(delayMs / factor, callback),
  }
}
