// Who waits under which AbortSignal: one listener a signal, however many wait, since Node takes more than ten for a leak.
// Not here: what is said to those who waited.

type Stop = (reason: unknown) => void

interface Group {
  readonly stops: Set<Stop>
  readonly onAbort: () => void
}

export class Aborts {
  readonly #groups = new Map<AbortSignal, Group>()

  /** Calls `stop` once with the signal's reason, at once if it has aborted; what it gives stops listening. */
  on(signal: AbortSignal | undefined, stop: Stop): () => void {
    if (signal === undefined) return nothing
    if (signal.aborted) {
      stop(signal.reason)
      return nothing
    }
    const group = this.#groups.get(signal) ?? this.#listen(signal)
    const own: Stop = (reason) => stop(reason) // the same function twice is two who wait
    group.stops.add(own)
    return () => {
      if (!group.stops.delete(own) || group.stops.size > 0) return
      this.#groups.delete(signal)
      signal.removeEventListener('abort', group.onAbort)
    }
  }

  #listen(signal: AbortSignal): Group {
    const stops = new Set<Stop>()
    const onAbort = () => {
      for (const stop of stops) stop(signal.reason)
    }
    const group = { stops, onAbort }
    this.#groups.set(signal, group)
    signal.addEventListener('abort', onAbort)
    return group
  }
}

function nothing(): void {}
