# SPDX-License-Identifier: LGPL-2.1-or-later
# Completion of apmigctl for bash. Verbs, their arguments and options are those that its own help names; locks and guests
# are those that apmigd tells.

# The verbs, each with its arguments.
_apmigctl_usages()
{
    apmigctl --help 2>/dev/null | sed -n '/^Verbs:/,/^$/s/^  \([a-z].*\)/\1/p'
}

# _apmigctl_options VERB: as "--json=short|pretty"
_apmigctl_options()
{
    # shellcheck disable=SC2086 # nothing, or the option that makes it a verb over many hosts
    apmigctl $many "$1" --help 2>/dev/null | sed -n 's/^ *\(-[a-z?], \)\{0,1\}\(--[a-z][^ ]*\).*/\2/p'
}

# _apmigctl_members NAME VERB: the texts of that name in what a verb tells; one with characters that JSON escapes is none
_apmigctl_members()
{
    apmigctl "$2" --json=short 2>/dev/null | grep -o "\"$1\":\"[^\"\\\\]*\"" | cut -d'"' -f4 | sort -u
}

# _apmigctl_reply: of the lines on standard input those that begin with $cur
_apmigctl_reply()
{
    local line
    while IFS= read -r line; do
        if [[ -n $line && $line == "$cur"* ]]; then
            COMPREPLY+=("$(printf %q "$line")")
        fi
    done
}

_apmigctl()
{
    local cur=${COMP_WORDS[COMP_CWORD]} verb many='' option='' usage i word
    COMPREPLY=()
    for word in "${COMP_WORDS[@]:1}"; do
        case $word in --hosts | --hosts-file) many=--hosts=a ;; esac
    done
    # what may stand before the verb; bash takes "--hosts=a" for three words
    i=1
    while [[ ${COMP_WORDS[i]} == -* ]] && ((i < COMP_CWORD)); do
        if [[ ${COMP_WORDS[i + 1]} == = ]]; then
            ((i += 3))
        else
            case ${COMP_WORDS[i]} in -q | --quiet | --no-ask-password) ((i += 1)) ;; *) ((i += 2)) ;; esac
        fi
    done
    verb=${COMP_WORDS[i]}
    if ((COMP_CWORD == i)); then
        _apmigctl_reply < <(_apmigctl_usages | cut -d' ' -f1; printf '%s\n' --help --version --hosts= --hosts-file=)
        [[ ${#COMPREPLY[@]} -ne 1 || ${COMPREPLY[0]} != *= ]] || compopt -o nospace 2>/dev/null
        return
    fi
    ((COMP_CWORD > i)) || verb=

    # bash takes "--json=sh" for three words
    if [[ $cur == = ]]; then
        option=${COMP_WORDS[COMP_CWORD - 1]} cur=
    elif [[ ${COMP_WORDS[COMP_CWORD - 1]} == = ]]; then
        option=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case $option in --hosts-file)
        while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "$cur")
        return
        ;;
    esac
    if [[ $option == --* ]]; then
        _apmigctl_reply < <(_apmigctl_options "$verb" | sed -n "s/^$option=\(.*|.*\)/\1/p" | tr '|' '\n')
        return
    fi

    if [[ $cur == -* ]]; then
        _apmigctl_reply < <(_apmigctl_options "$verb" | sed 's/=.*/=/')
        [[ ${#COMPREPLY[@]} -ne 1 || ${COMPREPLY[0]} != *= ]] || compopt -o nospace 2>/dev/null
        return
    fi

    usage=$(_apmigctl_usages | sed -n "s/^$verb \([^ ]*\).*/\1/p")
    case $usage in
    *LOCK*) _apmigctl_reply < <(_apmigctl_members Id list) ;;
    *GUEST*) _apmigctl_reply < <({ _apmigctl_members guest-name queues; _apmigctl_members Guest migrations; } | sort -u) ;;
    esac
}

complete -F _apmigctl apmigctl
