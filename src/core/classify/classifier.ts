// Reply → Verdict. The layers, each asked only when those before had no answer:
//   errno      no server spoke
//   user       the user's policies: their `classify` function, then their rules
//   provider   rules of the provider that speaks (provider.ts finds it)
//   general    rules over words that any server may use (general/)
//   enhanced   the enhanced status code by itself
//   class      the first digit
// Pure; everything is prepared once, a provider's rules when it first speaks, since most processes meet few.

import type { Cause, Persistence, Scope } from '../cause.ts'
import { badOption } from '../error.ts'
import type { ProviderPolicy, ReplyRule } from '../policy.ts'
import type { Phase, Reply } from '../reply.ts'
import type { Layer, ReplyContext, Verdict } from '../verdict.ts'
import { MEANINGS, waitingHelps } from './advice.ts'
import { ENHANCED_RULES } from './enhanced.ts'
import { errnoMeaning } from './errno.ts'
import { type Facts, factsOf } from './facts.ts'
import { GENERAL_RULES } from './general/index.ts'
import { parseReply } from './parse.ts'
import { NameIndex, recogniser } from './provider.ts'
import { type CompiledRule, classOf, compileRules, type RuleSet } from './rules.ts'
import { waitIn } from './wait.ts'

/** What `classifyReply` may be told around a reply. */
export type ClassifyContext = ReplyContext & {
  /** Policies asked before all others. */
  readonly policies?: readonly ProviderPolicy[]
}

/**
 * Tells what a reply means. Total: any text gives a verdict.
 * @throws SteadymailError `BAD_OPTION` for what is no text and has none
 */
export type Classifier = (reply: Reply | string, context?: ClassifyContext) => Verdict

interface Ready {
  readonly policy: ProviderPolicy
  readonly rules: RuleSet
  readonly appliesTo: (context: ReplyContext, providers: readonly ProviderPolicy[]) => boolean
}

const GENERAL = compileRules(GENERAL_RULES, 'folded')
const ENHANCED = compileRules(ENHANCED_RULES)

/** Of providers' rules, which never change; for all classifiers. */
const prepared = new WeakMap<readonly ReplyRule[], RuleSet>()

function rulesOf(rules: readonly ReplyRule[]): RuleSet {
  let set = prepared.get(rules)
  if (set === undefined) {
    set = compileRules(rules)
    prepared.set(rules, set)
  }
  return set
}

/**
 * Makes the function that tells what replies mean.
 * @param policies the known providers, as `builtinPolicies`, which never change
 * @param user policies whose `classify` and rules are asked before all others
 */
export function createClassifier(
  policies: readonly ProviderPolicy[] = [],
  user: readonly ProviderPolicy[] = [],
): Classifier {
  const recognise = recogniser(policies)
  const known = new Set(policies.map(({ name }) => name))
  const ready = (policy: ProviderPolicy) => readyOf(policy, known)
  const own = user.map(ready)
  const extra = new WeakMap<readonly ProviderPolicy[], readonly Ready[]>()

  const users = (context: ClassifyContext): readonly Ready[] => {
    if (context.policies === undefined) return own
    let prepared = extra.get(context.policies)
    if (prepared === undefined) {
      prepared = context.policies.map(ready)
      extra.set(context.policies, prepared)
    }
    return own.length === 0 ? prepared : [...prepared, ...own]
  }

  return (given, context = {}) => {
    if (typeof given !== 'string' && typeof given?.text !== 'string')
      throw badOption('reply', "a reply's text, or an object with its text", given)
    const reply: Reply =
      typeof given === 'string' ? { text: given, phase: context.phase ?? 'unknown' } : given
    const facts = factsOf(reply, context)
    const providers = recognise(facts, context)
    const provider = providers[0]
    const asked = { facts, context, provider }

    for (const { policy, rules, appliesTo } of users(context)) {
      if (!appliesTo(context, providers)) continue
      const opinion = policy.classify?.(
        typeof given === 'string' ? parseReply(given, context.phase) : given,
        context,
      )
      if (opinion !== undefined) return complete(opinion, asked, policy)
      const rule = rules.first(facts)
      if (rule !== undefined) return verdictOf(rule, 'user', { ...asked, provider: provider ?? policy })
    }
    const errno = facts.code === undefined ? errnoMeaning(reply) : undefined
    if (errno !== undefined) return verdict(errno, asked, { layer: 'errno', rule: errno.rule })
    for (const policy of providers) {
      const rule = policy.rules && rulesOf(policy.rules).first(facts)
      if (rule !== undefined) return verdictOf(rule, 'provider', { ...asked, provider: policy })
    }
    const general = GENERAL.first(facts)
    if (general !== undefined) return verdictOf(general, 'general', asked)
    const enhanced = ENHANCED.first(facts)
    if (enhanced !== undefined) return verdictOf(enhanced, 'enhanced', asked)
    return verdict({ cause: causeOfCode(facts) }, asked, {
      layer: 'class',
      rule: `class-${classOf(facts) ?? 'none'}`,
    })
  }
}

function readyOf(policy: ProviderPolicy, known: ReadonlySet<string>): Ready {
  const mx = new NameIndex<true>()
  const domains = new NameIndex<true>()
  for (const pattern of policy.mx ?? []) mx.add(pattern, true)
  for (const pattern of policy.domains ?? []) domains.add(pattern, true)
  // One that adds to a provider by name says with it where it applies.
  const anywhere = policy.mx === undefined && policy.domains === undefined && !known.has(policy.name)
  return {
    policy,
    rules: compileRules(policy.rules ?? []),
    // Without host and domain nothing speaks against the policy that the caller gave.
    appliesTo: (context, providers) =>
      anywhere ||
      (context.mx === undefined && context.domain === undefined) ||
      (context.mx !== undefined && mx.find(context.mx) === true) ||
      (context.domain !== undefined && domains.find(context.domain) === true) ||
      providers.some(({ name }) => name === policy.name),
  }
}

// What the code and the phase alone say (RFC 5321 §4.2.3, RFC 4954 §6): a login or a command was refused, no more.
function causeOfCode({ code, phase }: Facts): Cause {
  if (phase === 'auth' || code === 530 || code === 534 || code === 535 || code === 538)
    return 'auth-credentials'
  return code !== undefined && code >= 500 && code <= 504 ? 'protocol' : 'unknown'
}

interface Asked {
  readonly facts: Facts
  readonly context: ReplyContext
  readonly provider: ProviderPolicy | undefined
}

interface Opinion {
  readonly cause: Cause
  readonly persistence?: Persistence | undefined
  readonly scope?: Scope | undefined
}

interface Origin {
  readonly layer: Layer
  readonly rule: string
  readonly from?: ReplyRule
  readonly retryAfterMs?: number | undefined
}

function verdictOf({ rule, retryAfterMs }: CompiledRule, layer: Layer, asked: Asked): Verdict {
  return verdict(rule, asked, { layer, rule: rule.id, from: rule, retryAfterMs })
}

function verdict(opinion: Opinion, asked: Asked, origin: Origin): Verdict {
  const { facts, context, provider } = asked
  const { cause } = opinion
  const stated =
    facts.errno === undefined || facts.code !== undefined ? waitIn(facts.folded, context.now) : undefined
  const persistence = opinion.persistence ?? persistenceOf(cause, facts, stated !== undefined)
  const wait = persistence === 'transient' ? (stated ?? origin.retryAfterMs) : undefined
  const url = origin.from?.url ?? provider?.url
  return {
    persistence,
    cause,
    scope: opinion.scope ?? scopeOf(cause, asked),
    ...(wait === undefined
      ? {}
      : { retryAfterMs: wait, retryAfterFrom: stated === undefined ? 'rule' : 'text' }),
    ...(provider === undefined ? {} : { provider: provider.name }),
    rule: origin.rule,
    layer: origin.layer,
    advice: origin.from?.advice ?? MEANINGS[cause].advice,
    ...(url === undefined ? {} : { url }),
    waitingHelps: waitingHelps(cause, persistence),
  }
}

/** Fills what a user's `classify` left out. */
function complete(opinion: Partial<Verdict>, asked: Asked, policy: ProviderPolicy): Verdict {
  const made = verdict(
    { cause: opinion.cause ?? 'unknown', persistence: opinion.persistence, scope: opinion.scope },
    asked,
    { layer: 'user', rule: opinion.rule ?? `${policy.name}-classify` },
  )
  const { retryAfterMs, advice, url, waitingHelps: helps } = opinion
  return {
    ...made,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs, retryAfterFrom: opinion.retryAfterFrom ?? 'rule' }),
    ...(advice === undefined ? {} : { advice }),
    ...(url === undefined ? {} : { url }),
    ...(helps === undefined ? {} : { waitingHelps: helps }),
    provider: opinion.provider ?? made.provider ?? policy.name,
  }
}

// A refusal by volume or by a window of time ends by itself, whatever its first digit (RFC 5321 §4.2.1 leaves no other code to some).
const ENDS_BY_ITSELF: ReadonlySet<Cause> = new Set([
  'rate-limit',
  'concurrency',
  'connection-recycle',
  'greylist',
  'recipient-rate',
  'quota-sender',
])
const SAYS_TEMPORARY =
  /\btempora(?:r|l|ne)|\btemporaire|\bvorubergehend|\btymczasow|\bfor today\b|\btry (?:again|later)|\bplease retry|\bretry later|\bcome back later|\bdid not complete\b|\bservfail\b/
const SAYS_FINAL = /\bpermanent|\bdiscarded\b|\bdo not (?:retry|resend)|\bwill not be (?:retried|resent)/
const USUALLY_LASTING: ReadonlySet<Cause> = new Set([
  'reputation-domain',
  'blocklist',
  'authentication',
  'reverse-dns',
  'content',
  'recipient-unknown',
  'recipient-disabled',
  'message-too-large',
  'relay-denied',
  'sender-rejected',
  'smtputf8',
  'policy-other',
  'dns',
  'protocol',
])
const SAYS_FAILED =
  /\b(?:rejected|refused|denied|failed|undeliverable|not delivered|bounced|exceeded|expired)\b/

function persistenceOf(cause: Cause, facts: Facts, statesWait: boolean): Persistence {
  const digit = classOf(facts)
  const text = facts.folded
  // No 4xx is called permanent here: mail lost for nothing is the worst error.
  if (digit === 4) return 'transient'
  if (digit === 5) {
    if (SAYS_FINAL.test(text)) return 'permanent'
    if (statesWait || ENDS_BY_ITSELF.has(cause)) return 'transient'
    return /\btempora|\btymczasow|\bvorubergehend|\bfor today\b/.test(text) ? 'transient' : 'permanent'
  }
  if (SAYS_FINAL.test(text)) return 'permanent'
  if (statesWait || ENDS_BY_ITSELF.has(cause) || SAYS_TEMPORARY.test(text)) return 'transient'
  if (USUALLY_LASTING.has(cause)) return 'permanent'
  return cause === 'unknown' && SAYS_FAILED.test(text) ? 'permanent' : 'transient'
}

const BEFORE_DATA: ReadonlySet<Phase> = new Set(['greeting', 'ehlo', 'mail', 'rcpt'])
const NAMES_CLIENT =
  /\bipaddr|\byour (?:ip|host|server|mta|network|mail ?server)|\bclient\b|\bconnection\b|\bip address/

function scopeOf(cause: Cause, { facts, context, provider }: Asked): Scope {
  const { phase, folded } = facts
  const ownRelay =
    provider?.role === 'submission' ||
    phase === 'auth' ||
    (provider === undefined && looksLikeSubmission(context.mx))
  switch (cause) {
    case 'unknown':
      if (phase === 'rcpt') return 'recipient'
      if (phase === 'greeting' || phase === 'ehlo' || phase === 'idle') return 'lane'
      // 421 closes the connection (RFC 5321 §3.8): said before any message, it is about the sender.
      return facts.code === 421 && phase !== 'dot' && phase !== 'data' ? 'lane' : 'message'
    case 'policy-other':
      if (phase === 'auth') return 'sender'
      return BEFORE_DATA.has(phase) && NAMES_CLIENT.test(folded)
        ? 'lane'
        : phase === 'greeting'
          ? 'lane'
          : 'message'
    case 'protocol':
      return facts.code === 421 ? 'connection' : 'message'
    case 'rate-limit':
    case 'concurrency':
    case 'server-busy':
    case 'relay-denied':
      return ownRelay && cause !== 'server-busy' ? 'sender' : MEANINGS[cause].scope
    case 'recipient-unknown':
    case 'recipient-disabled':
    case 'mailbox-full':
    case 'recipient-rate':
    case 'recipient-unverified':
    case 'greylist':
    case 'reputation-ip':
    case 'reputation-domain':
    case 'blocklist':
    case 'authentication':
    case 'reverse-dns':
    case 'content':
    case 'connection-recycle':
    case 'message-too-large':
    case 'too-many-recipients':
    case 'sender-rejected':
    case 'tls-required':
    case 'auth-credentials':
    case 'quota-sender':
    case 'dns':
    case 'network':
    case 'smtputf8':
      return MEANINGS[cause].scope
    default:
      return cause satisfies never
  }
}

// Hosts named for sending: smtp.example.com, outbound-us2.example.com, authsmtp.example.com.
// A host for receiving may be named so too: smtp-in.example.com.
const SUBMISSION_HOST =
  /^(?!smtp-?(?:in|mx)(?:bound)?\d{0,3}\b)(?:smtps?|smtp-?(?:out|relay|auth|mail|send)|submit|submission|outbound|mailout|auth-?smtp|relay|email-smtp|out)[\d-]{0,4}(?:-[a-z0-9-]{1,20})?\./

function looksLikeSubmission(host: string | undefined): boolean {
  return host !== undefined && SUBMISSION_HOST.test(host)
}
