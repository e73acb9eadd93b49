// What a user can reach, read as a user's editor reads it: every public name says what it is, and none refers to
// a type that cannot be imported.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))
const src = join(root, 'src/')
const ENTRIES = ['index', 'sqlite', 'bottleneck', 'mx', 'testing']

const config = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile).config
const { options } = ts.parseJsonConfigFileContent({ ...config, include: [] }, ts.sys, root)
const paths = ENTRIES.map((entry) => join(src, `${entry}.ts`))
const program = ts.createProgram(paths, options)
const checker = program.getTypeChecker()

function meant(symbol: ts.Symbol): ts.Symbol {
  return symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol
}

function exportsOf(entry: string): readonly ts.Symbol[] {
  const file = program.getSourceFile(join(src, `${entry}.ts`))
  const module = file && checker.getSymbolAtLocation(file)
  return module === undefined ? [] : checker.getExportsOfModule(module).map(meant)
}

const reachable = new Set(ENTRIES.flatMap(exportsOf))

/** Our own names that a declaration shows to a reader: not those inside of functions or private fields. */
function namesIn(declaration: ts.Node): ts.Symbol[] {
  const found: ts.Symbol[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isBlock(node)) return
    if (ts.isClassElement(node) && node.name !== undefined && ts.isPrivateIdentifier(node.name)) return
    if (ts.isVariableDeclaration(node) && node.type === undefined) return
    const name = ts.isTypeReferenceNode(node)
      ? node.typeName
      : ts.isExpressionWithTypeArguments(node)
        ? node.expression
        : undefined
    const symbol = name && checker.getSymbolAtLocation(name)
    if (symbol !== undefined) found.push(meant(symbol))
    ts.forEachChild(node, visit)
  }
  visit(declaration)
  return found.filter(
    (symbol) =>
      (symbol.flags & ts.SymbolFlags.TypeParameter) === 0 &&
      symbol.declarations?.[0]?.getSourceFile().fileName.startsWith(src),
  )
}

describe.each(ENTRIES)('%s', (entry) => {
  const names = exportsOf(entry)

  it('exports something', () => {
    expect(names.length).toBeGreaterThan(0)
  })

  it('says what each name is', () => {
    const silent = names.filter((symbol) => symbol.getDocumentationComment(checker).length === 0)
    expect(silent.map((symbol) => symbol.name)).toEqual([])
  })

  it('refers only to what can be imported', () => {
    const hidden = names.flatMap((symbol) =>
      (symbol.declarations ?? [])
        .flatMap(namesIn)
        .filter((other) => !reachable.has(other))
        .map((other) => `${symbol.name} refers to ${other.name}`),
    )
    expect(hidden).toEqual([])
  })

  it('lists its names one by one', () => {
    const text = readFileSync(join(src, `${entry}.ts`), 'utf8')
    expect(text).not.toMatch(/export \*/)
  })
})
