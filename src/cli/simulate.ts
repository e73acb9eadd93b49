// `steadymail simulate <plan.json>`: what a policy would do against modelled receivers, as a table, JSON or a picture.

import { readFile, writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { SteadymailError } from '../core/error.ts'
import { durationText } from '../core/units.ts'
import type { SimulatedLane, Simulation } from '../testing/ledger.ts'
import { picture } from '../testing/picture.ts'
import type { Plan } from '../testing/plan.ts'
import { simulate as run } from '../testing/simulate.ts'
import type { CommandResult } from './explain.ts'

export const SIMULATE_USAGE = `steadymail simulate <plan.json> [--days <number>] [--seed <number>] [--svg <file> [--title <text>]] [--json]

  <plan.json>  policies to try, receivers to meet, mail to send: see docs/simulate.md
  --days       simulated at most, in place of the plan's
  --seed       of jitter and latency, in place of the plan's
  --svg        draws rate, holds and deliveries into that file, under that title
  --json       the result as JSON`

/**
 * Runs `simulate` with the arguments that follow it.
 * @returns status 0 with the result, 1 when mail failed or was left over, 2 with what is wrong with the plan
 */
export async function simulate(args: readonly string[]): Promise<CommandResult> {
  try {
    const { values, positionals } = parse(args)
    if (values.help === true) return { out: SIMULATE_USAGE, status: 0 }
    const [file] = positionals
    if (file === undefined || positionals.length > 1)
      return misuse(`expected one plan, got ${positionals.length}`)
    const simulation = await run({
      ...(await read(file)),
      ...(values.days !== undefined && { days: Number(values.days) }),
      ...(values.seed !== undefined && { seed: Number(values.seed) }),
    })
    if (values.svg !== undefined)
      await writeFile(values.svg, picture(simulation, { title: values.title ?? file }))
    const status = simulation.delivered === simulation.messages ? 0 : 1
    return { out: values.json === true ? JSON.stringify(simulation, null, 2) : table(simulation), status }
  } catch (error) {
    return misuse(error instanceof Error ? error.message : String(error))
  }
}

function parse(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      days: { type: 'string' },
      seed: { type: 'string' },
      svg: { type: 'string' },
      title: { type: 'string' },
      json: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  })
}

async function read(file: string): Promise<Plan> {
  const text = await readFile(file, 'utf8').catch((error: Error) => {
    throw new SteadymailError('BAD_OPTION', `${file}: expected a readable file: ${error.message}`, {
      path: file,
    })
  })
  try {
    // what it holds is checked by `simulate`
    return JSON.parse(text) as Plan
  } catch (error) {
    throw new SteadymailError('BAD_OPTION', `${file}: expected JSON: ${(error as Error).message}`, {
      path: file,
    })
  }
}

function misuse(message: string): CommandResult {
  return { err: `steadymail simulate: ${message}\n\n${SIMULATE_USAGE}`, status: 2 }
}

const COLUMNS: readonly (readonly [string, (lane: SimulatedLane) => string])[] = [
  ['lane', (lane) => lane.lane],
  ['messages', (lane) => String(lane.messages)],
  ['delivered', (lane) => String(lane.delivered)],
  ['failed', (lane) => String(lane.failed)],
  ['waiting', (lane) => String(lane.waiting)],
  ['drained in', (lane) => (lane.delivered === 0 ? 'never' : durationText(lane.drainMs))],
  ['median wait', (lane) => (lane.delivered === 0 ? '' : durationText(lane.waitedMs.median))],
  ['95 % within', (lane) => (lane.delivered === 0 ? '' : durationText(lane.waitedMs.p95))],
  ['attempts', (lane) => String(lane.attempts)],
  ['wasted', (lane) => String(lane.wasted)],
  ['over limit', (lane) => String(lane.violations)],
  ['holds', (lane) => String(lane.holds.length)],
]

function table({ lanes, messages, delivered, failed, lengthMs }: Simulation): string {
  const rows = [COLUMNS.map(([name]) => name), ...lanes.map((lane) => COLUMNS.map(([, show]) => show(lane)))]
  const widths = COLUMNS.map((_, i) => Math.max(...rows.map((row) => (row[i] ?? '').length)))
  const lines = rows.map((row) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  '),
  )
  const troubles = lanes.flatMap((lane) => lane.troubles.map((pattern) => `${lane.lane}: ${pattern}`))
  const sum = `${delivered} of ${messages} delivered, ${failed} failed, in ${durationText(lengthMs)} simulated`
  return [
    ...lines,
    '',
    sum,
    ...(troubles.length > 0 ? ['', 'trouble:', ...troubles.map((one) => `  ${one}`)] : []),
  ].join('\n')
}
