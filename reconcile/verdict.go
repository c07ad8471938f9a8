package reconcile

import "time"

// A Verdict is what the rules of a policy say of an image.
type Verdict struct {
	Refused []Finding `json:"refused"` // none: it would be admitted
	Warned  []Finding `json:"warned"`
	Waived  []Waiver  `json:"waived,omitempty"` // the waivers that were needed
}

// Judge judges a version by its own rules and the waivers of a catalog, as a plan would, without looking at any registry.
func Judge(d Desired, w Want, e Evidence, now time.Time) Verdict {
	d.Wants = append(append([]Want{}, d.Wants...), w)
	s := newState(d, Observed{}, now)
	j := s.judge(&d.Wants[len(d.Wants)-1], e, func(Bound) bool { return true })
	sortFindings(j.refused)
	sortFindings(j.warned)
	v := Verdict{Refused: orEmpty(j.refused), Warned: orEmpty(j.warned)}
	for _, i := range j.waivers {
		v.Waived = append(v.Waived, d.Waivers[i])
	}
	return v
}
