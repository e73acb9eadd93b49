// The wait that a reply states: "in 15 minutes", "an hour", "00:04:59", "for 300 seconds", "after 12:30 UTC".
// A window or a rate is not a wait: "10 per minute", "in the last hour", "this hour", nor is "a few hours".

const MAX_MS = 7 * 86_400_000

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

const UNITS = new Map<string, number>([
  ...words(
    's sec secs second seconds sekunde sekunden seconde secondes segundo segundos secondi secondo sekund sekundy sekunder seconden sekunti',
    SECOND,
  ),
  ...words('сек секунд секунды секунду 秒 秒钟 秒後', SECOND),
  ...words('min mins minute minutes minuten minuto minutos minuti minut minuty minuter minuut', MINUTE),
  ...words('мин минут минуты минуту 分钟 分鐘 分', MINUTE),
  ...words(
    'h hr hrs hour hours stunde stunden heure heures hora horas ore ora godzine godziny godzin uur timmar',
    HOUR,
  ),
  ...words('час часа часов 小时 小時', HOUR),
  ...words('d day days tag tage tagen jour jours dia dias giorno giorni dzien dni dagen', DAY),
  ...words('день дня дней 天', DAY),
])

function words(list: string, ms: number): [string, number][] {
  return list.split(' ').map((word) => [word, ms])
}

const NUMBERS = new Map<string, number>(
  Object.entries({
    a: 1,
    an: 1,
    one: 1,
    two: 2,
    three: 3,
    four: 4,
    five: 5,
    six: 6,
    seven: 7,
    eight: 8,
    nine: 9,
    ten: 10,
    fifteen: 15,
    twenty: 20,
    thirty: 30,
    forty: 40,
    fortyfive: 45,
    sixty: 60,
    half: 0.5,
    ein: 1,
    eine: 1,
    einer: 1,
    einem: 1,
    funf: 5,
    zehn: 10,
    une: 1,
    un: 1,
    una: 1,
    uma: 1,
    um: 1,
    cinq: 5,
    dix: 10,
  }),
)

// Words after which a length is a wait.
const RETRY =
  /^(?:again|retry|re-?try|back|resend|resending|re-?send|resubmit|reattempt|re-?attempt|wait|waiting|later|try|come|reconnect|re-?connect|erneut|wieder|nochmals?|reessayez?|re-?essayer|ressayez|recommencer|ulterieurement|patienter|nuevo|nuevamente|reintent\w{0,6}|intent\w{0,6}|tente|tentar|novamente|riprova\w{0,4}|riprovare|ponow\w{0,6}|sprobuj|повтор\p{L}{0,8}|попробуйте|позже|重试|再试)$/u
// Words of a refusal that a length may follow with "for", as in "greylisted for 300 seconds".
const REFUSED =
  /^(?:gr[ae]y-?list\w{0,4}|deferred|deferring|blocked|blocking|block|suspended|rejected|refused|banned|throttled|penalty|limited|disabled|locked|unavailable|timeout|delay)$/
// Words that make a length a window or a rate.
const WINDOW =
  /^(?:last|past|previous|per|every|each|letzten?|dernieres?|ultim[oa]s?|within|than|over|limit|exceeded|messages|mails|emails|connections|recipients|attempts|older|old|since|ago|until)$/
const LEADS =
  /^(?:in|after|for|wait|least|about|approximately|another|further|additional|at|noch|nach|dans|apres|en|dentro|tras|em|apos|fra|tra|dopo|za|po|через|fur|pour|por|per|minimum|over|until|or|pendant|of|by|the|~|delay|timeout)$/

const TOKEN = /\d{1,2}:\d{2}(?::\d{2})?|\d{1,9}(?:\.\d{1,3})?|[\p{L}][\p{L}'-]{0,30}|[~]/gu
// Most replies have none of these, and need not be cut into words.
const HINT =
  /\d ?[smhd]\b|\d ?(?:sec|min|hrs)|:\d\d|\d-\d\d[t ]|second|minut|hour|\bdays?\b|sekund|stunde|\btage?\b|heure|\bjours?\b|hora|\bdias?\b|\bor[ae]\b|giorn|godzin|\bdni\b|\buur\b|сек|мин|час|秒|分|小时|小時|天/
const CLOCK = /^(\d{1,2}):(\d{2})(?::(\d{2}))?$/
const ISO =
  /\b(\d{4})-(\d{2})-(\d{2})[t ](\d{2}):(\d{2})(?::(\d{2}))?(?:\.\d{1,9})?\s?(z|utc|gmt|[+-]\d{2}:?\d{2})?/
const UNTIL = /(?:until|after|before|not before|at|nach|bis|apres|despues)[\s:]{1,3}(?:the )?(?:date )?$/

/**
 * The wait a text states, in ms; undefined where it states none, or only a window or a rate.
 * @param text folded: lower case, without accents
 * @param now epoch ms; without it, a time of day is no wait
 */
export function waitIn(text: string, now?: number): number | undefined {
  if (!HINT.test(text)) return undefined
  return lengthIn(text) ?? (now === undefined ? undefined : untilIn(text, now))
}

function lengthIn(text: string): number | undefined {
  const tokens = text.match(TOKEN) ?? []
  for (let at = 0; at < tokens.length; at++) {
    const token = tokens[at] ?? ''
    const clock = CLOCK.exec(token)
    if (clock !== null) {
      const zone = tokens[at + 1]
      if (clock[3] === undefined || zone === 'utc' || zone === 'gmt') continue
      if (!isWait(tokens, at, at + 1)) continue
      return within(Number(clock[1]) * HOUR + Number(clock[2]) * MINUTE + Number(clock[3]) * SECOND)
    }
    const count = NUMBERS.get(token) ?? (/^\d/.test(token) ? Number(token) : undefined)
    if (count === undefined) continue
    let unitAt = at + 1
    // "half an hour"
    if (token === 'half' && (tokens[unitAt] === 'an' || tokens[unitAt] === 'a')) unitAt++
    const unit = UNITS.get(tokens[unitAt] ?? '')
    if (unit === undefined || !isWait(tokens, at, unitAt + 1)) continue
    let ms = count * unit
    // "5 minutes 30 seconds", "1 hour and 5 minutes", "1 hour(s) 25 minute(s)"
    const between = tokens[unitAt + 1]
    const next = between === 'and' || between === 's' ? unitAt + 2 : unitAt + 1
    const smaller = UNITS.get(tokens[next + 1] ?? '')
    const more = Number(tokens[next])
    if (smaller !== undefined && smaller < unit && Number.isFinite(more)) ms += more * smaller
    return within(ms)
  }
  return undefined
}

/** Whether the length that stands at `from` is one to wait: what is said before or after it tells. */
function isWait(tokens: readonly string[], from: number, to: number): boolean {
  let leads = false
  for (let back = 1; back <= 8; back++) {
    const word = tokens[from - back]
    if (word === undefined) break
    if (RETRY.test(word)) return true
    if (WINDOW.test(word)) return false
    if (REFUSED.test(word)) return leads || back === 1
    if (LEADS.test(word)) leads = true
    else if (back <= 2 && !leads) break
  }
  const before = tokens[from - 1]
  if (before !== undefined && !/^(?:in|after|wait|nach|dans|en|za|через)$/.test(before)) return false
  for (let ahead = 0; ahead < 5; ahead++) {
    const word = tokens[to + ahead]
    if (word !== undefined && RETRY.test(word)) return true
  }
  return false
}

function within(ms: number): number | undefined {
  return ms > 0 && ms <= MAX_MS ? ms : undefined
}

function untilIn(text: string, now: number): number | undefined {
  const iso = ISO.exec(text)
  if (iso !== null) {
    if (!UNTIL.test(text.slice(Math.max(0, iso.index - 24), iso.index))) return undefined
    const [, year, month, day, hour, minute, second, zone] = iso
    const moment =
      epochDay(Number(year), Number(month), Number(day)) * DAY +
      Number(hour) * HOUR +
      Number(minute) * MINUTE +
      Number(second ?? 0) * SECOND -
      zoneMs(zone)
    return within(moment - now)
  }
  const time = /\b(?:until|after|nach|apres)\s(\d{1,2}):(\d{2})(?::(\d{2}))?\s?(?:utc|gmt|z)\b/.exec(text)
  if (time === null) return undefined
  const ofDay = Number(time[1]) * HOUR + Number(time[2]) * MINUTE + Number(time[3] ?? 0) * SECOND
  if (ofDay >= DAY) return undefined
  const ahead = (ofDay - (now % DAY) + DAY) % DAY
  return within(ahead === 0 ? DAY : ahead)
}

function zoneMs(zone: string | undefined): number {
  if (zone === undefined || zone.length < 5) return 0
  const sign = zone[0] === '-' ? -1 : 1
  const digits = zone.slice(1).replace(':', '')
  return sign * (Number(digits.slice(0, 2)) * HOUR + Number(digits.slice(2)) * MINUTE)
}

/** Days since 1970-01-01 of a date in the Gregorian calendar (Howard Hinnant's days_from_civil). */
function epochDay(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year
  const era = Math.floor(y / 400)
  const yearOfEra = y - era * 400
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear
  return era * 146_097 + dayOfEra - 719_468
}
