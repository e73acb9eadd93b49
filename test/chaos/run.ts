// npm run chaos: kills processes, and counts what became of their mail.

import { type Counts, none, sum } from './fixtures/audit.ts'
import { runMoments } from './moments.ts'
import { POINTS, runPoint } from './points.ts'

const AT_ONCE = 2

async function inTurn<T>(work: readonly (() => Promise<T>)[]): Promise<T[]> {
  const results: T[] = []
  let next = 0
  const worker = async () => {
    for (let at = next++; at < work.length; at = next++) results[at] = await (work[at] as () => Promise<T>)()
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  return results
}
const only = process.argv[2]
const points = POINTS.filter((p) => only === undefined || p.name.includes(only))
const counts = await inTurn(
  points.map((point) => async () => {
    const at = Date.now()
    const counts = await runPoint(point).catch(
      (error): Counts => ({ ...none(), wrong: [String(error).slice(0, 900)] }),
    )
    console.log(`${Date.now() - at} ${point.name}`, JSON.stringify(counts))
    return counts
  }),
)
console.log(counts.reduce(sum, none()))
if (only !== undefined) process.exit()
const at = Date.now()
console.log(await runMoments(Number(process.env.KILLS ?? 20), 1), Date.now() - at)
