// A simulation as a picture: one self-contained SVG, a panel per lane with its rate, its holds and its deliveries.
// No script, no font or style from elsewhere: it shows in a README, a mail, a browser. Not here: the numbers (ledger.ts).

import { DAY, durationText, HOUR, MINUTE } from '../core/units.ts'
import type { LaneStep, SimulatedLane, Simulation } from './ledger.ts'

/** What to draw. */
export interface PictureOptions {
  /** Lanes to draw, by name. @default the eight with the most messages */
  readonly lanes?: readonly string[]
  /** @default 'steadymail simulation' */
  readonly title?: string
}

const WIDTH = 920
const LEFT = 64
const RIGHT = 64
const PLOT = WIDTH - LEFT - RIGHT
const PANEL = 190
const CHART = 110
const MOST = 8

const INK = '#1f2933'
const FAINT = '#9aa5b1'
const GRID = '#e4e7eb'
const BARS = '#7cc4a0'
const RATE = '#2b6cb0'
const HOLD = '#f4c7c3'
const REFUSED = '#c53030'

/**
 * Draws lanes of a simulation: bars for deliveries, a line for the rate allowed, red bands for holds, dots for
 * attempts that passed a limit, and the share delivered as a thin line.
 */
export function picture(simulation: Simulation, options: PictureOptions = {}): string {
  const lanes = options.lanes
    ? simulation.lanes.filter((one) => options.lanes?.includes(one.lane))
    : [...simulation.lanes].sort((a, b) => b.messages - a.messages).slice(0, MOST)
  const spanMs = spanOf(lanes, simulation.lengthMs)
  const height = 56 + lanes.length * PANEL + 24
  const title = options.title ?? 'steadymail simulation'
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" font-family="system-ui, sans-serif" font-size="12" fill="${INK}" role="img" aria-label="${xml(title)}">`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    `<text x="${LEFT}" y="26" font-size="16" font-weight="600">${xml(title)}</text>`,
    legend(),
    ...lanes.map((lane, i) => panel(lane, 56 + i * PANEL, spanMs, simulation.stepMs)),
    '</svg>\n',
  ].join('\n')
}

/** Until the last delivery, and a little more. */
function spanOf(lanes: readonly SimulatedLane[], lengthMs: number): number {
  const last = Math.max(
    0,
    ...lanes.flatMap((lane) => lane.steps.filter((s) => s.attempts > 0).map((s) => s.at)),
  )
  return Math.max(MINUTE, Math.min(lengthMs, last > 0 ? last * 1.02 : lengthMs))
}

function legend(): string {
  const signs: readonly (readonly [number, string, string])[] = [
    [0, `<rect x="0" y="-9" width="12" height="9" fill="${BARS}"/>`, 'delivered'],
    [100, `<path d="M0 -4h12" stroke="${RATE}" stroke-width="2"/>`, 'rate allowed (at the top: or more)'],
    [330, `<rect x="0" y="-9" width="12" height="9" fill="${HOLD}"/>`, 'held'],
    [400, `<circle cx="6" cy="-4" r="3" fill="${REFUSED}"/>`, 'limit passed'],
    [515, `<path d="M0 -4h12" stroke="${FAINT}" stroke-dasharray="3 2"/>`, 'still to deliver'],
  ]
  return signs
    .map(
      ([x, sign, label]) =>
        `<g transform="translate(${LEFT + x} 46)">${sign}<text x="18">${label}</text></g>`,
    )
    .join('')
}

function panel(lane: SimulatedLane, top: number, spanMs: number, stepMs: number): string {
  const steps = lane.steps.filter((step) => step.at - stepMs < spanMs)
  const x = (ms: number) => round(LEFT + (PLOT * Math.min(ms, spanMs)) / spanMs)
  const perMinute = (step: LaneStep) => (step.delivered * MINUTE) / stepMs
  // one first burst would press the rest of the day against the bottom
  const busiest = steps.map(perMinute).sort((a, b) => a - b)[Math.floor(steps.length * 0.97)] ?? 0
  const slowest = Math.min(
    busiest * 3,
    ...steps.flatMap((step) => (step.rate === undefined ? [] : [step.rate])),
  )
  const most = nice(Math.max(busiest, slowest, 1 / 60))
  const base = top + 34 + CHART
  const y = (rate: number) => round(base - (CHART * Math.min(rate, most)) / most)
  const holds = lane.holds
    .filter((hold) => hold.from < spanMs)
    .map((hold) => {
      const width = Math.max(1, x(hold.until) - x(hold.from))
      const about = `${hold.cause}, ${durationText(hold.until - hold.from)}: ${hold.reply}`
      return `<rect x="${x(hold.from)}" y="${base - CHART}" width="${round(width)}" height="${CHART}" fill="${HOLD}"><title>${xml(about)}</title></rect>`
    })
  const bars = steps
    .filter((step) => step.delivered > 0)
    .map((step) => {
      const from = x(step.at - stepMs)
      return `M${from} ${base}V${y(perMinute(step))}H${round(Math.max(from + 0.5, x(step.at)))}V${base}Z`
    })
  const rated = steps.filter((step) => step.rate !== undefined)
  const line = rated.map((step, i) => `${i === 0 ? 'M' : 'L'}${x(step.at)} ${y(step.rate ?? 0)}`)
  const left = steps.map((step, i) => {
    const share = lane.messages === 0 ? 0 : step.waiting / lane.messages
    return `${i === 0 ? 'M' : 'L'}${x(step.at)} ${round(base - CHART * Math.min(1, share))}`
  })
  const dots = steps
    .filter((step) => step.violations > 0)
    .map(
      (step) =>
        `<circle cx="${x(step.at - stepMs / 2)}" cy="${base - 4}" r="${step.violations > 3 ? 4 : 3}" fill="${REFUSED}"><title>${step.violations} refused</title></circle>`,
    )
  return [
    `<text x="${LEFT}" y="${top + 18}" font-weight="600">${xml(lane.lane)}</text>`,
    `<text x="${WIDTH - RIGHT}" y="${top + 18}" text-anchor="end" fill="${FAINT}">${xml(summary(lane))}</text>`,
    ...holds,
    ...[0, 0.5, 1].map((share) => gridLine(base - CHART * share, `${trim(most * share)}/min`)),
    `<path d="${bars.join('')}" fill="${BARS}"/>`,
    left.length > 1
      ? `<path d="${left.join('')}" fill="none" stroke="${FAINT}" stroke-dasharray="3 2"/>`
      : '',
    line.length > 1 ? `<path d="${line.join('')}" fill="none" stroke="${RATE}" stroke-width="1.5"/>` : '',
    ...dots,
    ...ticks(spanMs).map(
      (at) =>
        `<text x="${x(at)}" y="${base + 16}" text-anchor="middle" fill="${FAINT}">${durationText(at) || '0'}</text>`,
    ),
  ].join('\n')
}

function summary(lane: SimulatedLane): string {
  const parts = [
    `${lane.delivered} of ${lane.messages} delivered`,
    `last after ${durationText(lane.drainMs)}`,
    `${lane.attempts} attempts`,
    `${lane.violations} over the limit`,
  ]
  if (lane.failed > 0) parts.splice(1, 0, `${lane.failed} failed`)
  return parts.join(', ')
}

function gridLine(y: number, label: string): string {
  return `<path d="M${LEFT} ${round(y)}H${WIDTH - RIGHT}" stroke="${GRID}"/><text x="${LEFT - 6}" y="${round(y + 4)}" text-anchor="end" fill="${FAINT}">${label}</text>`
}

/** About eight marks at round times. */
function ticks(spanMs: number): readonly number[] {
  const sizes = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1_440, 2_880].map((minutes) => minutes * MINUTE)
  const size = sizes.find((one) => spanMs / one <= 9) ?? Math.ceil(spanMs / 8 / DAY) * DAY
  return Array.from({ length: Math.floor(spanMs / size) }, (_, i) => (i + 1) * size).filter(
    (at) => at % HOUR === 0 || size < HOUR,
  )
}

/** The next of 1, 2, 2.5, 5, 10 … that is not below. */
function nice(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value))
  return ([1, 2, 2.5, 5, 10].find((step) => step * power >= value) ?? 10) * power
}

function trim(value: number): string {
  return String(Number(value.toPrecision(3)))
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}

function xml(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f]/g, ' ').replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`)
}
