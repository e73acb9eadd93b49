// Which words a pattern needs: read from the pattern's source, so that a rule is tried only on replies that hold
// one of them. Where the source is too clever to read, the answer is "none known" and the rule is always tried.

import { FOREIGN_KEY, keyOf } from './facts.ts'

/** Words that nearly every reply holds; poor anchors. */
const COMMON = new Set(
  'mail mess from your the this been has please not recipient address user host server error sender for you to is of was and are rejected message'
    .split(' ')
    .map((word) => word.slice(0, 4)),
)

interface Node {
  /** Keys of which at least one must be present, the rarest found so far. */
  readonly keys: ReadonlySet<number> | undefined
  readonly score: number
  /** Whether the node can match nothing. */
  readonly empty: boolean
  /** Whether what follows begins a word, given that this node began at a word's start. */
  readonly endsAtBoundary: boolean
}

interface Reader {
  readonly source: string
  at: number
}

const ALNUM = /[a-z0-9]/
const NOTHING: Node = { keys: undefined, score: 0, empty: true, endsAtBoundary: true }

/**
 * The keys (see `keyOf`) of which a text must hold one to match the pattern; `undefined` when none are known.
 */
export function anchorsOf(source: string): ReadonlySet<number> | undefined {
  const reader: Reader = { source, at: 0 }
  try {
    const node = readAlternatives(reader, false, false)
    return reader.at < reader.source.length ? undefined : node.keys
  } catch {
    return undefined
  }
}

function readAlternatives(reader: Reader, boundary: boolean, endsWord: boolean): Node {
  const nodes: Node[] = [readSequence(reader, boundary, endsWord)]
  while (reader.source[reader.at] === '|') {
    reader.at++
    nodes.push(readSequence(reader, boundary, endsWord))
  }
  const only = nodes[0]
  if (only !== undefined && nodes.length === 1) return only
  const keys = new Set<number>()
  let known = true
  for (const node of nodes) {
    if (node.keys === undefined) known = false
    else for (const key of node.keys) keys.add(key)
  }
  return {
    keys: known ? keys : undefined,
    score: known ? Math.min(...nodes.map((node) => node.score)) : 0,
    empty: nodes.some((node) => node.empty),
    endsAtBoundary: nodes.every((node) => node.endsAtBoundary),
  }
}

function readSequence(reader: Reader, startsAtBoundary: boolean, endsWord: boolean): Node {
  let best: Node = NOTHING
  let boundary = startsAtBoundary
  let word = '' // letters gathered since a boundary
  let gathering = boundary
  let empty = true
  const close = (atBoundary: boolean) => {
    if (gathering && (word.length >= 4 || (atBoundary && word.length >= 2))) {
      const score = (COMMON.has(word.slice(0, 4)) ? 0 : 10) + Math.min(word.length, 6)
      if (score > best.score) best = { ...best, keys: new Set([keyOf(word)]), score }
    }
    word = ''
    gathering = atBoundary
  }
  for (;;) {
    const c = reader.source[reader.at]
    if (c === undefined || c === '|' || c === ')') {
      close(endsWord)
      return { ...best, empty, endsAtBoundary: boundary }
    }
    const atom = readAtom(reader, boundary)
    const repeat = readRepeat(reader)
    if (repeat.min === 0) {
      close(false)
      boundary = boundary && atom.node.endsAtBoundary && !repeat.many
      gathering = boundary
      continue
    }
    if (!atom.node.empty) empty = false
    if (atom.letter !== undefined && !repeat.many) {
      if (gathering) word += atom.letter
      boundary = false
    } else if (atom.separator) {
      close(true)
      boundary = true
      gathering = true
    } else if (atom.assertion) {
      if (atom.wordEdge) {
        close(true)
        boundary = true
        gathering = true
      }
    } else {
      close(false)
      if (atom.node.keys !== undefined && atom.node.score > best.score)
        best = { ...best, keys: atom.node.keys, score: atom.node.score }
      boundary = atom.node.endsAtBoundary
      gathering = boundary
    }
  }
}

interface Atom {
  readonly node: Node
  readonly letter?: string
  readonly separator?: boolean
  readonly assertion?: boolean
  readonly wordEdge?: boolean
}

const OTHER: Node = { keys: undefined, score: 0, empty: false, endsAtBoundary: false }
// One foreign letter is as good an anchor as a word: most replies have none.
const FOREIGN: Node = { keys: new Set([FOREIGN_KEY]), score: 15, empty: false, endsAtBoundary: false }
const SEPARATOR: Node = { keys: undefined, score: 0, empty: false, endsAtBoundary: true }

function readAtom(reader: Reader, boundary: boolean): Atom {
  const { source } = reader
  const c = source[reader.at++]
  if (c === undefined) throw new Error('unexpected end')
  if (c === '^' || c === '$') return { node: NOTHING, assertion: true, wordEdge: true }
  if (c === '.') return { node: OTHER }
  if (c === '[') return readClass(reader)
  if (c === '\\') {
    const escaped = source[reader.at++] ?? ''
    if (escaped === 'b') return { node: NOTHING, assertion: true, wordEdge: true }
    if (escaped === 's') return { node: SEPARATOR, separator: true }
    if (escaped === 'W') return { node: SEPARATOR, separator: true }
    if ('wdSD'.includes(escaped)) return { node: OTHER }
    if (/[a-z0-9]/i.test(escaped)) throw new Error('unread escape')
    return { node: SEPARATOR, separator: true }
  }
  if (c === '(') {
    if (source.startsWith('?:', reader.at)) reader.at += 2
    else if (source.startsWith('?!', reader.at) || source.startsWith('?=', reader.at)) {
      reader.at += 2
      readAlternatives(reader, false, false)
      reader.at++
      return { node: NOTHING, assertion: true }
    } else if (source[reader.at] === '?') throw new Error('unread group')
    const node = readAlternatives(reader, boundary, wordEndsAfter(source, reader.at))
    if (source[reader.at] !== ')') throw new Error('unclosed group')
    reader.at++
    return { node }
  }
  const lower = c.toLowerCase()
  if (ALNUM.test(lower)) return { node: OTHER, letter: lower }
  // An accented letter may stand inside a word, and is folded in the words that are indexed.
  return c >= '\u0080' ? { node: FOREIGN } : { node: SEPARATOR, separator: true }
}

function readClass(reader: Reader): Atom {
  const { source } = reader
  let separator = source[reader.at] !== '^'
  let at = reader.at
  for (; source[at] !== ']'; at++) {
    const c = source[at]
    if (c === undefined) throw new Error('unclosed class')
    if (c === '\\') {
      at++
      if (source[at] !== 's') separator = separator && !/[a-z0-9]/i.test(source[at] ?? 'a')
    } else if (/[a-z0-9]/i.test(c)) separator = false
  }
  // A range between two signs could hold letters, as in `[!-~]`.
  if (source.slice(reader.at, at).includes('-') && source[at - 1] !== '-' && source[reader.at] !== '-')
    separator = false
  reader.at = at + 1
  return separator ? { node: SEPARATOR, separator: true } : { node: OTHER }
}

function readRepeat(reader: Reader): { min: number; many: boolean } {
  const { source } = reader
  const c = source[reader.at]
  let found = { min: 1, many: false }
  if (c === '?') found = { min: 0, many: false }
  else if (c === '*') found = { min: 0, many: true }
  else if (c === '+') found = { min: 1, many: true }
  else if (c === '{') {
    const close = source.indexOf('}', reader.at)
    found = { min: Number.parseInt(source.slice(reader.at + 1, close), 10), many: true }
    reader.at = close
  } else return found
  reader.at++
  if (source[reader.at] === '?') reader.at++
  return found
}

const EDGE = /^(?:\\b|\\s|\\W|\\[^a-zA-Z0-9]|[ ,:;!'"<>/@#%&=~-])(?![?*{])/

/** Whether the group that is open at `from` is followed by something that ends a word. */
function wordEndsAfter(source: string, from: number): boolean {
  return isEdge(source, closeOf(source, from) + 1)
}

function isEdge(source: string, at: number): boolean {
  if (source.startsWith('(?: ', at)) {
    const close = closeOf(source, at + 1)
    return isEdge(source, source[close + 1] === '?' ? close + 2 : close + 1)
  }
  return EDGE.test(source.slice(at, at + 4))
}

/** Where the group that is open at `from` closes. */
function closeOf(source: string, from: number): number {
  let depth = 0
  for (let at = from; at < source.length; at++) {
    const c = source[at]
    if (c === '\\') at++
    else if (c === '[') {
      while (at < source.length && source[at] !== ']') at += source[at] === '\\' ? 2 : 1
    } else if (c === '(') depth++
    else if (c === ')') {
      if (depth === 0) return at
      depth--
    }
  }
  return source.length
}

/** A pattern's alternatives, `a|b` → `a`, `b`: indexed one by one, few are tried. */
export function alternativesOf(source: string): string[] {
  const parts: string[] = []
  let depth = 0
  let from = 0
  for (let at = 0; at < source.length; at++) {
    const c = source[at]
    if (c === '\\') at++
    else if (c === '[') {
      while (at < source.length && source[at] !== ']') at += source[at] === '\\' ? 2 : 1
    } else if (c === '(') depth++
    else if (c === ')') depth--
    else if (c === '|' && depth === 0) {
      parts.push(source.slice(from, at))
      from = at + 1
    }
  }
  parts.push(source.slice(from))
  return parts
}
